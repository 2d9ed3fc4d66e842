//! The form in which content reaches a sink: as [`Captured`], which only [`Shown`] creates, and
//! only from what the run's own [`Capture`] lets through. Without content, types and sizes are
//! shown (`metadata`) or nothing at all (`none`).

use std::sync::Arc;

use engine::capture::Capture;
use engine::chat::Content;
use lang::workflow::CaptureLevel;
use serde_json::{Map, Value, json};

/// Content that may be shown, as text (JSON text where it was a value).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Captured(String);

impl Captured {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// Decides what may be shown of one run.
#[derive(Debug, Clone)]
pub(crate) struct Shown(pub(crate) Arc<Capture>);

impl Shown {
    /// Whether prompts and replies of a node are shown as they are.
    pub(crate) fn shows_prompts(&self, node: &str) -> bool {
        self.0.prompt_level(node) == CaptureLevel::Full
    }

    /// Whether artifacts of a node (`None`: of the run) may be kept.
    pub(crate) fn keeps_artifacts(&self, node: Option<&str>) -> bool {
        self.0.keeps_artifacts(node)
    }

    pub(crate) fn prompt(&self, node: &str, prompt: &str) -> Option<Captured> {
        match self.0.prompt(node, prompt) {
            Some(prompt) => Some(Captured(prompt.into_owned())),
            None => sized(self.0.prompt_level(node), || shape_of_text(prompt)),
        }
    }

    pub(crate) fn reply(&self, node: &str, content: &Content) -> Option<Captured> {
        match self.0.reply(node, content) {
            Some(reply) => Some(Captured(reply.into_owned())),
            None => sized(self.0.prompt_level(node), || match content {
                Content::Text(text) => shape_of_text(text),
                Content::Json(value) => shape(value).to_string(),
            }),
        }
    }

    /// Inputs or outputs of the run, by field.
    pub(crate) fn fields(&self, fields: &Map<String, Value>) -> Option<Captured> {
        match self.0.fields(fields) {
            Some(fields) => Some(Captured(storable(Value::Object(fields)).to_string())),
            None => sized(self.0.run_level(), || {
                Value::Object(shape_of(fields)).to_string()
            }),
        }
    }

    /// The same by field, in readable form: texts without quotes.
    pub(crate) fn members(&self, fields: &Map<String, Value>) -> Vec<(String, Captured)> {
        let fields = match (self.0.fields(fields), self.0.run_level()) {
            (Some(fields), _) => fields,
            (None, CaptureLevel::None) => return Vec::new(),
            (None, _) => shape_of(fields),
        };
        let text = |value: Value| match value {
            Value::String(text) => text,
            value => value.to_string(),
        };
        fields
            .into_iter()
            .map(|(name, value)| (name, Captured(text(value))))
            .collect()
    }

    /// A node's outputs.
    pub(crate) fn outputs(&self, node: &str, outputs: &Value) -> Option<Captured> {
        let outputs = outputs.as_object()?;
        match self.0.outputs(node, outputs) {
            Some(outputs) => Some(Captured(storable(Value::Object(outputs)).to_string())),
            None => sized(self.0.node_level(node), || {
                Value::Object(shape_of(outputs)).to_string()
            }),
        }
    }

    /// The state after a step. Its sizes alone would say little, so without content there is
    /// nothing.
    pub(crate) fn state(&self, state: &[Value]) -> Option<Captured> {
        let state = self.0.state(state)?;
        Some(Captured(storable(Value::Object(state)).to_string()))
    }

    /// The message of a failure, which is shown at every level.
    pub(crate) fn sentence(&self, sentence: &str) -> Captured {
        Captured(self.0.text(sentence).into_owned())
    }
}

/// A value whose integers fit into signed 64 bits, the largest that MLflow and OTLP support; larger
/// ones become text. A larger one would make every search over the traces of its experiment fail.
fn storable(mut value: Value) -> Value {
    make_storable(&mut value);
    value
}

fn make_storable(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            *value = Value::String(number.to_string());
        }
        Value::Array(items) => items.iter_mut().for_each(make_storable),
        Value::Object(members) => members.values_mut().for_each(make_storable),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn sized(level: CaptureLevel, shape: impl FnOnce() -> String) -> Option<Captured> {
    // Only called if the content itself is not shown.
    (level >= CaptureLevel::Metadata).then(|| Captured(shape()))
}

/// A value with every leaf replaced by its type and size.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => json!("<bool>"),
        Value::Number(number) => json!(if number.is_f64() { "<float>" } else { "<int>" }),
        Value::String(text) => json!(shape_of_text(text)),
        Value::Array(items) => json!(format!("<list of {}>", items.len())),
        // Keys of a dict may be content.
        Value::Object(members) => json!(format!("<object of {}>", members.len())),
    }
}

/// Fields of the state. Their names come from the workflow file and are no content.
fn shape_of(fields: &Map<String, Value>) -> Map<String, Value> {
    fields
        .iter()
        .map(|(name, value)| (name.clone(), shape(value)))
        .collect()
}

fn shape_of_text(text: &str) -> String {
    format!("<text of {} characters>", text.chars().count())
}

#[cfg(test)]
mod tests {
    use lang::source::Source;

    use super::*;

    const TEXT: &str = r#"
schema_version: "1.0"
flow: {name: w}
state:
  fields:
    name: {type: str, required: true}
    key: {type: str, sensitive: true}
    out: {type: str}
nodes:
  - {id: n, prompt: "Say {name}", output_schema: {type: str}, outputs: [out]}
edges: [{from: START, to: n}, {from: n, to: END}]
"#;

    fn shown(ceiling: CaptureLevel) -> Shown {
        let checked = lang::check(&Source::new("w.yaml", TEXT));
        let workflow = checked.workflow.expect("valid");
        Shown(Arc::new(Capture::new(workflow, ceiling)))
    }

    fn fields() -> Map<String, Value> {
        let fields =
            json!({"name": "Ada", "key": "hush-hush", "age": 36, "tags": ["a"], "x": {"k": 1.5}});
        fields.as_object().expect("an object").clone()
    }

    #[test]
    fn metadata_tells_types_and_sizes_and_no_value() {
        let shown = shown(CaptureLevel::Metadata);
        assert_eq!(
            shown.fields(&fields()).expect("sizes").as_str(),
            r#"{"name":"<text of 3 characters>","key":"<text of 9 characters>","age":"<int>","tags":"<list of 1>","x":"<object of 1>"}"#
        );
        let prompt = shown.prompt("n", "Say Ada").expect("sizes");
        assert_eq!(prompt.as_str(), "<text of 7 characters>");
        assert!(!shown.shows_prompts("n"));
    }

    #[test]
    fn an_integer_of_64_bits_without_a_sign_is_text_for_a_sink() {
        let shown = shown(CaptureLevel::Full);
        let fields = json!({"name": u64::MAX, "out": [1, i64::MAX, {"k": 1_u64 << 63}], "x": 1.5});
        let fields = fields.as_object().expect("an object");
        let told = r#"{"name":"18446744073709551615","out":[1,9223372036854775807,{"k":"9223372036854775808"}],"x":1.5}"#;
        assert_eq!(shown.fields(fields).expect("content").as_str(), told);
        let outputs = Value::Object(fields.clone());
        assert_eq!(
            shown.outputs("n", &outputs).expect("content").as_str(),
            told
        );
    }

    #[test]
    fn none_tells_nothing() {
        let shown = shown(CaptureLevel::None);
        assert_eq!(shown.fields(&fields()), None);
        assert_eq!(shown.members(&fields()), []);
        assert_eq!(shown.prompt("n", "Say Ada"), None);
    }

    #[test]
    fn full_tells_everything_but_what_is_sensitive() {
        let members = shown(CaptureLevel::Full).members(&fields());
        let members: Vec<(&str, &str)> = members
            .iter()
            .map(|(name, value)| (&**name, value.as_str()))
            .collect();
        assert_eq!(members[0], ("name", "Ada"));
        assert_eq!(members[1], ("key", "[sensitive]"));
        assert_eq!(members[4], ("x", r#"{"k":1.5}"#));
    }
}
