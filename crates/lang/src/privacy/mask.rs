//! What is shown instead of a sensitive value.

use crate::value::Value;

/// What stands for a value that is not shown.
pub const MASK: &str = "[sensitive]";

/// The value with every scalar in it masked.
pub(super) fn mask_scalars(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Array(items) => items.iter().map(mask_scalars).collect(),
        Value::Object(entries) => {
            let masked = entries
                .iter()
                .map(|(key, value)| (key.clone(), mask_scalars(value)));
            Value::Object(masked.collect())
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::from(MASK),
    }
}
