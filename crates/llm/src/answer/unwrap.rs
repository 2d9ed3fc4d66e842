//! Takes an answer out of what some models put around it: one key, a call of the tool, JSON in a
//! text.

use serde_json::{Map, Value};

use super::mend::mend;
use crate::chat::OutputFormat;
use crate::large_integers;

/// Most layers that are taken off.
const MAX_LAYERS: usize = 4;

/// Where a call holds its arguments.
const ARGUMENTS: &[&str] = &["arguments", "parameters", "input", "args", "function"];
/// What else a call may hold.
const CALL: &[&str] = &[
    "name",
    "type",
    "id",
    "index",
    "tool",
    "tool_name",
    "call_id",
];

/// The value, or what is inside of it where only that fits. Whether it fits is asked only where
/// there may be something inside.
pub(super) fn unwrapped(value: Value, output: &OutputFormat) -> Value {
    let properties = output.schema.get("properties").and_then(Value::as_object);
    let may_hold_more = inside(&value, properties).is_some() || holds_json_texts(&value);
    if !may_hold_more || output.filter.accepts(&value) {
        return value;
    }
    find_inside(&value, properties, output).unwrap_or(value)
}

fn find_inside(
    value: &Value,
    properties: Option<&Map<String, Value>>,
    output: &OutputFormat,
) -> Option<Value> {
    let mut layer = value.clone();
    for _ in 0..MAX_LAYERS {
        if holds_json_texts(&layer) {
            let read = with_texts_read(&layer);
            if output.filter.accepts(&read) {
                return Some(read);
            }
        }
        layer = match inside(&layer, properties)? {
            Value::String(text) => read(text)?,
            inner => inner.clone(),
        };
        if output.filter.accepts(&layer) {
            return Some(layer);
        }
    }
    None
}

/// What may be the answer inside of a value. A property of the schema is a part of an answer and no
/// wrapping, unless it is the only one: then nothing else can be meant.
fn inside<'v>(value: &'v Value, properties: Option<&Map<String, Value>>) -> Option<&'v Value> {
    let is_part = |key: &str| {
        properties.is_some_and(|properties| properties.len() > 1 && properties.contains_key(key))
    };
    let inner = match value {
        Value::String(_) => value,
        Value::Array(items) if items.len() == 1 => &items[0],
        Value::Object(entries) => {
            let (key, inner) = if entries.len() == 1 {
                entries.iter().next()?
            } else {
                arguments(entries)?
            };
            if is_part(key) {
                return None;
            }
            inner
        }
        _ => return None,
    };
    match inner {
        Value::Object(_) | Value::Array(_) => Some(inner),
        Value::String(text) if looks_like_json(text) => Some(inner),
        _ => None,
    }
}

/// The arguments of what looks like a call: `{"name": …, "arguments": …}`.
fn arguments(entries: &Map<String, Value>) -> Option<(&String, &Value)> {
    let mut found = None;
    for (key, value) in entries {
        if ARGUMENTS.contains(&key.as_str()) {
            found.get_or_insert((key, value));
        } else if !CALL.contains(&key.as_str()) {
            return None;
        }
    }
    found
}

fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"'])
}

fn holds_json_texts(value: &Value) -> bool {
    let is_one = |value: &Value| match value {
        Value::String(text) => text.trim_start().starts_with(['{', '[']),
        _ => false,
    };
    value
        .as_object()
        .is_some_and(|entries| entries.values().any(is_one))
}

/// The object with each of its lists and objects that came as a text.
fn with_texts_read(value: &Value) -> Value {
    let mut value = value.clone();
    for field in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Value::String(text) = field
            && let Some(read) = read(text).filter(|read| read.is_object() || read.is_array())
        {
            *field = read;
        }
    }
    value
}

/// A text that is JSON and nothing else.
pub(super) fn read(text: &str) -> Option<Value> {
    if let Ok(value) = parse(text) {
        return Some(value);
    }
    let text = text.trim();
    if !looks_like_json(text) {
        return None;
    }
    let mended = mend(text, 0, None).ok()?;
    let is_whole = mended.fault.is_none() && mended.end == text.len();
    is_whole.then(|| parse(&mended.json).ok()).flatten()
}

/// Reads JSON; integers beyond 64 bits become text.
pub(super) fn parse(json: &str) -> serde_json::Result<Value> {
    serde_json::from_slice(&large_integers::as_text(json.as_bytes()))
}
