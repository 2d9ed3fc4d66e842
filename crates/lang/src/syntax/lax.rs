//! Scalars of the file by the same lax rules as inputs: `"0.5"` is a number, `"yes"` is true.

use crate::types::Type;
use crate::value::Value;
use crate::workflow::Field;
use crate::yaml::{Data, Node};

/// A truth value.
pub(crate) fn bool(node: &Node) -> Option<bool> {
    coerce(Type::Bool, node)?.as_bool()
}

/// A whole number of 64 bits; one beyond that counts as the largest, which no range admits.
pub(crate) fn int(node: &Node) -> Option<i64> {
    let value = coerce(Type::Int, node)?;
    Some(value.as_i64().unwrap_or(i64::MAX))
}

/// A finite number.
pub(crate) fn float(node: &Node) -> Option<f64> {
    coerce(Type::Float, node)?
        .as_f64()
        .filter(|value| value.is_finite())
}

fn coerce(ty: Type, node: &Node) -> Option<Value> {
    if matches!(node.data, Data::List(_) | Data::Map(_) | Data::Date(_)) {
        return None;
    }
    Field::named("", ty).coerce(&node.to_value()?).ok()
}
