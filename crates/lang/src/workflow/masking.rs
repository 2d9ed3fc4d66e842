//! Hiding what is sensitive in inputs, outputs and faults, by the names of the state's fields.

use crate::fault::{Fault, FaultKind, PathSegment};
use crate::ids::FieldId;
use crate::privacy::{MASK, Sensitive};
use crate::value::{Map, Value};

use super::Workflow;
use super::output::Output;

impl Workflow {
    /// Inputs, outputs or anything else with the state's fields by name, as it may be shown. Keys
    /// that are not fields stay as they are.
    pub fn masked(&self, named: &Map<String, Value>) -> Map<String, Value> {
        let mut masked = named.clone();
        let Some(sensitive) = &self.sensitive else {
            return masked;
        };
        for (index, field) in self.fields.iter().enumerate() {
            let id = FieldId(index);
            if sensitive.touches(id)
                && let Some(value) = masked.get_mut(&field.name)
            {
                *value = sensitive.mask(id, value).into_owned();
            }
        }
        masked
    }

    /// Takes what is sensitive out of faults of inputs: out of the value each shows, and out of its
    /// path, where that leads through the keys of a sensitive value.
    pub fn mask_faults(&self, faults: &mut [Fault]) {
        if self.sensitive.is_some() {
            for fault in faults {
                self.mask_fault(fault);
            }
        }
    }

    fn mask_fault(&self, fault: &mut Fault) {
        let Some(sensitive) = &self.sensitive else {
            return;
        };
        let lacks_key = fault.kind == FaultKind::Missing;
        match fault.path.split_first_mut() {
            Some((PathSegment::Key(name), inner)) if !(lacks_key && inner.is_empty()) => {
                if let Some(field) = self.field(name) {
                    sensitive.mask_fault(field, inner, lacks_key, &mut fault.input);
                }
            }
            // The fault concerns all inputs together.
            _ => {
                if let Value::Object(inputs) = &fault.input {
                    fault.input = Value::Object(self.masked(inputs));
                }
            }
        }
    }
}

impl Sensitive {
    /// Takes what is sensitive out of the faults of a model's answer.
    pub fn mask_answer_faults(&self, output: &Output, faults: &mut [Fault]) {
        for fault in faults {
            let lacks_key = fault.kind == FaultKind::Missing;
            let Some((PathSegment::Key(key), inner)) = fault.path.split_first_mut() else {
                fault.input = Value::from(MASK);
                continue;
            };
            if lacks_key && inner.is_empty() {
                fault.input = Value::from(MASK);
            } else if let Some(output) = output.fields.iter().find(|output| output.key == *key) {
                self.mask_fault(output.target, inner, lacks_key, &mut fault.input);
            }
        }
    }
}
