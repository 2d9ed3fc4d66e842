//! The values of a file, each with its span.

use std::rc::Rc;

use super::layout::Layout;
use crate::source::Span;
use crate::value::{Map, Value};

/// A value with its span. Aliases share their node, which keeps the span of the definition.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) data: Data,
    /// Values in here, itself included, every alias expanded.
    pub(super) size: usize,
    /// Levels below and including this one.
    pub(super) depth: usize,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    /// A finite number.
    Number(serde_json::Number),
    /// `.inf`, `-.inf` or `.nan`, which no value can hold.
    NonFinite,
    /// An unquoted date or time, as written. As a value it is that text; where the format itself
    /// takes text it must be quoted.
    Date(String),
    Text(Text),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// A text and how it was written, so that parts of it can be found in the file again.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) value: Rc<str>,
    pub(crate) layout: Layout,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Rc<Node>,
}

/// A mapping's key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// As text; a number, bool or date as written.
    pub(crate) text: Rc<str>,
    pub(crate) span: Span,
    /// Whether it is text, and not a number, a bool (`yes`, `on`), a date or null.
    pub(crate) is_text: bool,
}

impl Node {
    pub(super) fn new(span: Span, data: Data) -> Self {
        let (size, depth) = match &data {
            Data::List(items) => extent(items.iter()),
            Data::Map(entries) => extent(entries.iter().map(|entry| &entry.value)),
            _ => (1, 1),
        };
        Self {
            span,
            data,
            size,
            depth,
        }
    }

    /// The kind of value, for "expected text, found …".
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a yes/no value",
            Data::Number(number) if number.is_f64() => "a fraction",
            Data::Number(_) => "a number",
            Data::NonFinite => "infinity or not-a-number",
            Data::Date(_) => "a date",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }

    /// As a JSON value; dates become the text they were written as. `None` if it holds infinity or
    /// not-a-number.
    pub(crate) fn to_value(&self) -> Option<Value> {
        Some(match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(number) => Value::Number(number.clone()),
            Data::NonFinite => return None,
            Data::Date(text) => Value::String(text.clone()),
            Data::Text(text) => Value::String(text.value.to_string()),
            Data::List(items) => Value::Array(
                items
                    .iter()
                    .map(|item| item.to_value())
                    .collect::<Option<_>>()?,
            ),
            Data::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| Some((entry.key.text.to_string(), entry.value.to_value()?)))
                    .collect::<Option<Map<_, _>>>()?,
            ),
        })
    }
}

/// Size and depth of a collection of these values.
fn extent<'a>(values: impl Iterator<Item = &'a Rc<Node>>) -> (usize, usize) {
    let (size, depth) = values.fold((1_usize, 0), |(size, depth), value| {
        (size.saturating_add(value.size), depth.max(value.depth))
    });
    (size, depth + 1)
}
