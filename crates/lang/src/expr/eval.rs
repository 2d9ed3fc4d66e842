//! Evaluating a condition. Runs once per edge and rule on the hot path, so values are borrowed.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::reference::Scope;
use crate::value::{self, Value};

use super::tree::{Comparison, Expr};

impl Expr {
    pub(super) fn is_true(&self, scope: &dyn Scope) -> bool {
        match self {
            Self::Not(inner) => !inner.is_true(scope),
            Self::All(parts) => parts.iter().all(|part| part.is_true(scope)),
            Self::Any(parts) => parts.iter().any(|part| part.is_true(scope)),
            Self::Compare(comparison, left, right) => {
                comparison.holds(&left.value(scope), &right.value(scope))
            }
            Self::In(item, collection) => is_in(&item.value(scope), &collection.value(scope)),
            Self::Literal(_) | Self::Name(_) | Self::List(_) | Self::Len(_) => {
                value::is_truthy(&self.value(scope))
            }
        }
    }

    fn value<'a>(&'a self, scope: &'a dyn Scope) -> Cow<'a, Value> {
        match self {
            Self::Literal(literal) => Cow::Borrowed(literal),
            Self::Name(reference) => reference.find(scope).unwrap_or(Cow::Owned(Value::Null)),
            Self::List(parts) => Cow::Owned(
                parts
                    .iter()
                    .map(|part| part.value(scope).into_owned())
                    .collect(),
            ),
            Self::Len(inner) => {
                Cow::Owned(length(&inner.value(scope)).map_or(Value::Null, Value::from))
            }
            Self::Not(_) | Self::All(_) | Self::Any(_) | Self::Compare(..) | Self::In(..) => {
                Cow::Owned(Value::Bool(self.is_true(scope)))
            }
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        match self {
            Self::Equal => value::equal(left, right),
            Self::NotEqual => !value::equal(left, right),
            Self::Less => value::compare(left, right) == Some(Ordering::Less),
            Self::LessOrEqual => value::compare(left, right).is_some_and(Ordering::is_le),
            Self::Greater => value::compare(left, right) == Some(Ordering::Greater),
            Self::GreaterOrEqual => value::compare(left, right).is_some_and(Ordering::is_ge),
        }
    }
}

/// An item of a list, a key of a dict or object, a part of a text.
fn is_in(item: &Value, collection: &Value) -> bool {
    match (collection, item) {
        (Value::Array(items), _) => items.iter().any(|other| value::equal(item, other)),
        (Value::Object(entries), Value::String(key)) => entries.contains_key(key),
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        _ => false,
    }
}

/// Characters of a text, items of a list, entries of a dict; nothing else has a length.
fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.chars().count()),
        Value::Array(items) => Some(items.len()),
        Value::Object(entries) => Some(entries.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
