//! How much telemetry may show of what goes through a run: the one place where that is decided.
//!
//! Content reaches a sink as [`Captured`] only, and only a [`Policy`] makes one.

use lang::workflow::Workflow;
use serde_json::{Map, Value, json};

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Capture {
    /// Nothing: neither content nor what could be counted of it.
    None,
    /// Of each value its type and size.
    Metadata,
    /// Everything.
    #[default]
    Full,
}

/// Whose content it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The run's: its inputs and its outputs.
    Run,
    /// A node's: its prompt, its model's replies, its outputs.
    Node(&'a str),
}

/// Content that may be shown, as text (JSON text where it was a value).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured(String);

impl Captured {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// What may be shown of one workflow's runs.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    capture: Capture,
}

impl Policy {
    /// Of a workflow, where `global` is what the operator allows at most.
    pub fn of(_workflow: &Workflow, global: Capture) -> Self {
        Self { capture: global }
    }

    /// What holds for that scope.
    pub fn capture(&self, _scope: Scope<'_>) -> Capture {
        self.capture
    }

    /// A JSON value.
    pub fn value(&self, scope: Scope<'_>, value: &Value) -> Option<Captured> {
        match self.capture(scope) {
            Capture::None => None,
            Capture::Metadata => Some(Captured(shape(value).to_string())),
            Capture::Full => Some(Captured(value.to_string())),
        }
    }

    /// A text.
    pub fn text(&self, scope: Scope<'_>, text: &str) -> Option<Captured> {
        match self.capture(scope) {
            Capture::None => None,
            Capture::Metadata => Some(Captured(shape_of_text(text))),
            Capture::Full => Some(Captured(text.to_owned())),
        }
    }

    /// Named values, each by itself, in the form a person reads: a text without quotes.
    pub fn members(
        &self,
        scope: Scope<'_>,
        values: &Map<String, Value>,
    ) -> Vec<(String, Captured)> {
        let captured = |(name, value): (&String, &Value)| {
            let captured = match value {
                Value::String(text) => self.text(scope, text),
                value => self.value(scope, value),
            };
            Some((name.clone(), captured?))
        };
        values.iter().filter_map(captured).collect()
    }

    /// The one sentence of a failure. It names nodes, fields and rules, no values, so it is always shown.
    pub fn sentence(&self, sentence: &str) -> Captured {
        Captured(sentence.to_owned())
    }
}

/// A value with every leaf replaced by its type and size.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => json!("<bool>"),
        Value::Number(number) => json!(if number.is_f64() { "<float>" } else { "<int>" }),
        Value::String(text) => json!(shape_of_text(text)),
        Value::Array(items) => json!(format!("<list of {}>", items.len())),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

fn shape_of_text(text: &str) -> String {
    format!("<text of {} characters>", text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(capture: Capture) -> Policy {
        Policy { capture }
    }

    #[test]
    fn metadata_tells_types_and_sizes_and_no_value() {
        let value = json!({"name": "Ada", "age": 36, "tags": ["secret"], "inner": {"x": 1.5}});
        let shown = policy(Capture::Metadata)
            .value(Scope::Run, &value)
            .expect("metadata is something");
        assert_eq!(
            shown.as_str(),
            r#"{"name":"<text of 3 characters>","age":"<int>","tags":"<list of 1>","inner":{"x":"<float>"}}"#
        );
    }

    #[test]
    fn none_tells_nothing_and_full_everything() {
        let none = policy(Capture::None);
        assert_eq!(none.text(Scope::Node("ask"), "secret"), None);
        assert_eq!(none.value(Scope::Run, &json!(1)), None);
        let full = policy(Capture::Full).text(Scope::Node("ask"), "hello");
        assert_eq!(full.map(Captured::into_string), Some("hello".to_owned()));
    }
}
