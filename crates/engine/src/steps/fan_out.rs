//! A parallel edge over the items of a list: its items, and collecting their results.

use lang::workflow::{FanOut, FieldId, Node, Workflow};
use serde_json::{Map, Value};

use crate::faults;
use crate::outcome::{Failure, FailureCode};

/// The items of a list field. A field that was never set has none.
pub(crate) fn items(state: &[Value], list: FieldId) -> &[Value] {
    state[list.0].as_array().map_or(&[], Vec::as_slice)
}

/// The value of the collect field, made from the outputs of each item in item order: the output
/// itself, or an object of the outputs where the target has several.
pub(crate) fn collect(
    workflow: &Workflow,
    fan_out: &FanOut,
    outputs: &[Vec<Value>],
) -> Result<Value, Failure> {
    let target = &workflow.nodes[fan_out.target.0];
    let collected = outputs
        .iter()
        .map(|outputs| result(target, outputs))
        .collect();
    let field = &workflow.fields[fan_out.collect.0];
    field.coerce(&Value::Array(collected)).map_err(|faults| {
        let reason = format!(
            "the collected results do not fit `{}`: {}",
            field.name,
            faults::phrase(&faults)
        );
        Failure::of_node(FailureCode::OutputInvalid, &target.id, reason)
    })
}

fn result(target: &Node, outputs: &[Value]) -> Value {
    if let [output] = outputs {
        return output.clone();
    }
    let keys = target.output.fields.iter().map(|field| field.key.clone());
    Value::Object(keys.zip(outputs.iter().cloned()).collect::<Map<_, _>>())
}
