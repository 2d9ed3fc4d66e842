//! What an execution of a node produces, whatever its kind.

use lang::privacy::Sensitive;
use lang::workflow::{Node, Output, Workflow};
use serde_json::{Map, Value};

use crate::faults;

/// One value per output of a node, in its order. Each fits its field: there is no other way to make them.
#[derive(Debug)]
pub(crate) struct Outputs(Vec<Value>);

impl Outputs {
    /// Checks what a node has produced. An error names the rules that are broken and where, without
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

    /// By the names of the state's fields.
    pub(crate) fn named(&self, workflow: &Workflow, node: &Node) -> Value {
        let fields = node.output.fields.iter();
        let names = fields.map(|field| workflow.fields[field.target.0].name.clone());
        Value::Object(names.zip(self.0.iter().cloned()).collect::<Map<_, _>>())
    }

    pub(crate) fn into_values(self) -> Vec<Value> {
        self.0
    }
}
