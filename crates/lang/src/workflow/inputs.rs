//! A caller's inputs to the initial state, and a state back to what callers see.

use std::cell::LazyCell;

use crate::fault::{ENOUGH, Fault, FaultKind, Path, echo_object};
use crate::field::{Constraints, Field};
use crate::ids::FieldId;
use crate::value::{Map, Value};

use super::settings::AdditionalInputs;
use super::{InitialState, Workflow};

impl Workflow {
    /// Coerces and checks a caller's inputs. Fields that nodes write may be given too. On success
    /// the whole initial state, defaults and nulls filled in.
    ///
    /// On failure every fault: first those of fields, in declaration order, paths starting with the
    /// field's name; then inputs that are not fields, where those are forbidden, in the caller's
    /// order; then broken rules, whose path is empty because they concern the inputs as a whole. A
    /// rule is looked at only when all fields it reads are sound and none is written by a node. A
    /// list or dict is not looked at any further after 1,000 faults. A list that only callers fill
    /// may have no more items than a fan-out over it.
    pub fn accept_inputs(&self, inputs: &Map<String, Value>) -> Result<InitialState, Vec<Fault>> {
        let state = self.initial_state(inputs)?;
        let bounds = self.bounds_of_items();
        let broken = bounds.filter_map(|(FieldId(index), bound)| {
            let path = Path::Key(&Path::Root, &self.fields[index].name);
            bound.fault(&state[index], &state[index], path)
        });
        let faults: Vec<Fault> = broken.collect();
        if faults.is_empty() {
            Ok(state)
        } else {
            Err(faults)
        }
    }

    /// The bounds of fan-outs on the lists that only callers fill.
    pub(super) fn bounds_of_items(&self) -> impl Iterator<Item = (FieldId, Constraints)> {
        let fan_outs = self
            .nodes
            .iter()
            .filter_map(|node| node.exits.fan_out.as_ref());
        let of_callers =
            fan_outs.filter(|fan_out| self.fields[fan_out.items.0].written_by.is_empty());
        of_callers.map(|fan_out| {
            let bound = Constraints {
                max_items: Some(fan_out.max_items),
                ..Constraints::default()
            };
            (fan_out.items, bound)
        })
    }

    /// The same without the bounds of fan-outs: for inputs that were accepted before.
    pub fn initial_state(&self, inputs: &Map<String, Value>) -> Result<InitialState, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut unsound = Vec::new();
        let mut state = Vec::with_capacity(self.fields.len());
        for (index, field) in self.fields.iter().enumerate() {
            let value = accept_field(field, inputs, &mut faults);
            if value.is_none() {
                unsound.push(FieldId(index));
            }
            state.push(value.unwrap_or_default());
        }
        if self.additional_inputs == AdditionalInputs::Forbid {
            let extra = inputs
                .iter()
                .filter(|(name, _)| self.field(name).is_none())
                .take(ENOUGH);
            faults.extend(extra.map(|(name, value)| {
                Fault::new(
                    FaultKind::ExtraForbidden,
                    Path::Data(&Path::Root, name),
                    value,
                )
            }));
        }
        let checkable = self
            .rules_for_inputs()
            .filter(|rule| !rule.reads.iter().any(|read| unsound.contains(read)));
        let whole = LazyCell::new(|| echo_object(inputs));
        let broken = checkable.filter(|rule| !rule.holds_in(&state));
        faults.extend(broken.map(|rule| rule.fault(Path::Root, &whole)));

        if faults.is_empty() {
            Ok(state)
        } else {
            Err(faults)
        }
    }

    /// A state as the JSON object callers see: every field by name, in declaration order.
    pub fn state_object(&self, state: &[Value]) -> Map<String, Value> {
        self.fields
            .iter()
            .map(|field| field.name.clone())
            .zip(state.iter().cloned())
            .collect()
    }
}

fn accept_field(
    field: &Field,
    inputs: &Map<String, Value>,
    faults: &mut Vec<Fault>,
) -> Option<Value> {
    let path = Path::Key(&Path::Root, &field.name);
    match inputs.get(&field.name) {
        Some(given) => field.coerce_at(given, path, faults),
        None => field.absent_value().or_else(|| {
            faults.push(Fault::new(FaultKind::Missing, path, &echo_object(inputs)));
            None
        }),
    }
}

#[cfg(test)]
mod tests;
