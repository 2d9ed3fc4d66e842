//! The outputs of an execution, whatever the kind of the node.

use lang::privacy::Sensitive;
use lang::workflow::{Node, Output, Workflow};
use serde_json::{Map, Value};

use crate::faults;

/// One value per output of a node, in the order of its outputs. Each fits its field:
/// [`Outputs::read`] is the only way to make them.
#[derive(Debug)]
pub(crate) struct Outputs(Vec<Value>);

impl Outputs {
    /// Checks what a node has produced. The error says which rules are broken where, without
    /// sensitive values: it is safe to show to a caller.
    pub(crate) fn read(
        output: &Output,
        produced: &Value,
        sensitive: Option<&Sensitive>,
    ) -> Result<Self, String> {
        match output.read(produced) {
            Ok(values) => Ok(Self(values.into_iter().map(|(_, value)| value).collect())),
            Err(mut faults) => {
                if let Some(sensitive) = sensitive {
                    sensitive.mask_answer_faults(output, &mut faults);
                }
                Err(faults::phrase(&faults))
            }
        }
    }

    /// An object with the outputs by the names of their state fields.
    pub(crate) fn named(&self, workflow: &Workflow, node: &Node) -> Value {
        let fields = node.output.fields.iter();
        let names = fields.map(|field| workflow.fields[field.target.0].name.clone());
        Value::Object(names.zip(self.0.iter().cloned()).collect::<Map<_, _>>())
    }

    pub(crate) fn into_values(self) -> Vec<Value> {
        self.0
    }
}
