//! What a turn is made of. The types are stored with a run and read again by later versions.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::large_integers;

/// Deepest nesting of a value that is kept. A stored turn wraps it further, and its reader has a
/// bound of its own.
const MAX_DEPTH: usize = 64;

/// A part of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub enum Part {
    /// A text.
    Text(String),
    /// A call, in a turn of the model.
    ToolCall(ToolCall),
    /// What a call came to, in a turn of the user.
    ToolResult(ToolResult),
    /// What only its provider understands, in a turn of the model.
    Opaque(OpaquePart),
}

/// A part as it is stored: an object with its type. A text cannot carry a tag.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Stored {
    Text { text: String },
    ToolCall(ToolCall),
    ToolResult(ToolResult),
    Opaque(OpaquePart),
}

impl From<Part> for Stored {
    fn from(part: Part) -> Self {
        match part {
            Part::Text(text) => Self::Text { text },
            Part::ToolCall(call) => Self::ToolCall(call),
            Part::ToolResult(result) => Self::ToolResult(result),
            Part::Opaque(opaque) => Self::Opaque(opaque),
        }
    }
}

impl From<Stored> for Part {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Text { text } => Self::Text(text),
            Stored::ToolCall(call) => Self::ToolCall(call),
            Stored::ToolResult(result) => Self::ToolResult(result),
            Stored::Opaque(opaque) => Self::Opaque(opaque),
        }
    }
}

impl Part {
    /// Its text; empty if it is not a text.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::ToolCall(_) | Self::ToolResult(_) | Self::Opaque(_) => "",
        }
    }
}

/// A tool that the model calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's, or `call_<n>` where it gives none; unique in its turn.
    pub id: String,
    /// As the model wrote it: there may be no such tool.
    pub name: String,
    /// What the model passes.
    pub arguments: Arguments,
}

/// The arguments of a call: as an object, or what the model wrote instead. Serialised as such.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Arguments {
    /// An object, not yet checked against the tool's schema.
    Object(Map<String, Value>),
    /// Not a JSON object: the call is faulty. It can be answered and must never be made.
    Unreadable(String),
}

impl Arguments {
    /// Reads the text of a model. Nothing at all, or `null`, is an object without keys, and an
    /// object in quotes is that object. What is not quite JSON is not mended: a call with guessed
    /// arguments does something that the model did not ask for.
    pub fn read(text: &str) -> Self {
        if text.trim().is_empty() {
            return Self::Object(Map::new());
        }
        let value = match exact(text) {
            Some(Value::String(inner)) => exact(&inner).filter(Value::is_object),
            value => value,
        };
        match value {
            Some(Value::Object(arguments)) => Self::Object(arguments),
            Some(Value::Null) => Self::Object(Map::new()),
            _ => Self::Unreadable(text.to_owned()),
        }
    }

    /// The object; `None` if the call is faulty.
    pub fn object(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Object(arguments) => Some(arguments),
            Self::Unreadable(_) => None,
        }
    }

    /// As JSON text, or what the model wrote instead.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Object(arguments) => Value::Object(arguments.clone()).to_string().into(),
            Self::Unreadable(text) => text.into(),
        }
    }
}

/// A text as the JSON that it is, large integers as texts; `None` if it is none that can be kept.
fn exact(text: &str) -> Option<Value> {
    let exact = large_integers::as_text(text.as_bytes());
    let value = serde_json::from_slice(&exact).ok();
    value.filter(|value| is_within(value, MAX_DEPTH))
}

fn is_within(value: &Value, depth: usize) -> bool {
    let deeper = depth.checked_sub(1);
    match value {
        Value::Array(items) => {
            deeper.is_some_and(|depth| items.iter().all(|item| is_within(item, depth)))
        }
        Value::Object(fields) => {
            deeper.is_some_and(|depth| fields.values().all(|field| is_within(field, depth)))
        }
        _ => true,
    }
}

/// What a call came to. Every call of a turn has exactly one in the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ToolResult {
    /// The id of the call.
    pub call_id: String,
    /// The name in the call.
    pub name: String,
    /// For the model.
    pub content: String,
    /// The call failed, or was not made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// A piece of a reply that only its provider understands: a signature, a block of thoughts. It is
/// sent back to the same provider as it came and left out for every other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpaquePart {
    /// The provider, as replies name it.
    pub provider: String,
    /// The id of the call that it belongs to; `None` if it belongs to the turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_call: Option<String>,
    /// In the dialect's own form.
    pub value: Value,
}

impl OpaquePart {
    /// `None` if the value is nested too deeply to be kept.
    pub(crate) fn new(provider: &str, of_call: Option<String>, value: Value) -> Option<Self> {
        is_within(&value, MAX_DEPTH).then(|| Self {
            provider: provider.to_owned(),
            of_call,
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// T14: what is no JSON object never becomes `{}`, nor anything else that could be dispatched.
    #[test]
    fn arguments_are_an_object_or_what_the_model_wrote() {
        for (text, expected) in [
            (r#"{"q": "a"}"#, json!({"q": "a"})),
            ("", json!({})),
            (" \n", json!({})),
            ("null", json!({})),
            ("{}", json!({})),
            (r#""{\"q\": 1}""#, json!({"q": 1})),
            (
                r#"{"id": 123456789012345678901}"#,
                json!({"id": "123456789012345678901"}),
            ),
        ] {
            let read = Arguments::read(text);
            assert_eq!(read.object(), expected.as_object(), "{text}");
        }
        for text in [
            r#"{"q": "a"#,
            r#"{"q": 1}{"q": 2}"#,
            r#"{"q": 1,}"#,
            "[1]",
            "7",
            "paris",
            r#""paris""#,
        ] {
            let read = Arguments::read(text);
            assert_eq!((read.object(), &*read.text()), (None, text));
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert_eq!(Arguments::read(&deep).object(), None);
    }
}
