//! A request in Ollama's JSON.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::wording::Structure;
use crate::chat::{self, ChatRequest, Part, Role};
use crate::providers::schema::{self, Rules};

/// What Ollama turns into a grammar.
const RULES: Rules = Rules {
    keywords: &[
        "type",
        "description",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "anyOf",
        "enum",
        "const",
        "pattern",
        "format",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
    ],
    formats: &["date-time", "date", "time", "uuid"],
};

/// An answer's schema as it is sent.
#[derive(Debug)]
pub(crate) struct Schema {
    grammar: Box<RawValue>,
    /// The schema in words, and whether it says more than a grammar enforces.
    instruction: String,
    says_more: bool,
}

impl Schema {
    pub(super) fn fit(original: &Value) -> Self {
        let schema = schema::restrict(original, &RULES);
        let says_more = schema::says_more(&schema);
        let schema = to_raw_value(&schema).expect("a value has text keys");
        Self {
            instruction: schema::instruction(schema.get()),
            grammar: schema,
            says_more,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Format<'a> {
    Schema(&'a RawValue),
    Name(&'static str),
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    /// Always said: Ollama streams unless told not to.
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: Role,
    content: Cow<'a, str>,
}

/// A turn: the one place that translates parts. The API has one text for each turn; what is no text
/// goes beside it.
fn message(message: &chat::Message) -> Message<'_> {
    let mut content = Cow::Borrowed("");
    for part in &*message.parts {
        match part {
            Part::Text(text) => content += &**text,
        }
    }
    Message {
        role: message.role,
        content,
    }
}

#[derive(Serialize, PartialEq)]
struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
}

/// The whole request. `schema` is there exactly when the request wants structure.
pub(super) fn body(
    model: &str,
    request: &ChatRequest,
    schema: Option<&Schema>,
    structure: Structure,
) -> serde_json::Result<Vec<u8>> {
    let options = Options {
        temperature: request.temperature,
        num_predict: request.max_tokens,
    };
    let told = schema.filter(|schema| schema.says_more || structure == Structure::Json);
    let instruction = told.map(|schema| Message {
        role: Role::System,
        content: Cow::Borrowed(&schema.instruction),
    });
    let turns = request.messages.iter().map(message);
    serde_json::to_vec(&Body {
        model,
        messages: instruction.into_iter().chain(turns).collect(),
        stream: request.stream,
        format: schema.map(|schema| match structure {
            Structure::Schema => Format::Schema(&schema.grammar),
            Structure::Json => Format::Name("json"),
        }),
        options: (options.temperature.is_some() || options.num_predict.is_some())
            .then_some(options),
    })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use crate::providers::test_request::{free, in_parts, structured};
    use serde_json::json;

    #[track_caller]
    fn check(request: &ChatRequest, expected: Value) {
        check_as(request, Structure::Schema, expected);
    }

    #[track_caller]
    fn check_as(request: &ChatRequest, structure: Structure, expected: Value) {
        let schema = request
            .output
            .as_ref()
            .map(|output| Schema::fit(&output.schema));
        let body = body("m", request, schema.as_ref(), structure).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn free_text() {
        let mut request = free();
        check(
            &request,
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": false}),
        );
        request.stream = true;
        request.temperature = Some(0.5);
        request.max_tokens = Some(9);
        check(
            &request,
            json!({
                "model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": true,
                "options": {"temperature": 0.5, "num_predict": 9},
            }),
        );
    }

    #[test]
    fn several_parts_are_one_text() {
        let mut request = free();
        request.messages = in_parts();
        check(
            &request,
            json!({"model": "m", "stream": false, "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi there"},
            ]}),
        );
    }

    #[test]
    fn structure_is_a_format() {
        let schema =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        check(
            &structured(schema.clone()),
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": false, "format": schema}),
        );
    }

    #[test]
    fn descriptions_and_limits_are_told_in_a_message() {
        for said in [
            json!({"type": "integer", "maximum": 5}),
            json!({"type": "string", "description": "In French."}),
            json!({"type": "string", "maxLength": 80}),
        ] {
            let schema = json!({"type": "object", "properties": {"n": said}, "required": ["n"]});
            let told = format!("Answer with one JSON object that fits this JSON Schema: {schema}");
            check(
                &structured(schema.clone()),
                json!({
                    "model": "m", "stream": false, "format": schema,
                    "messages": [{"role": "system", "content": told}, {"role": "user", "content": "Hi"}],
                }),
            );
        }
    }

    #[test]
    fn a_refused_schema_is_told() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let told = format!("Answer with one JSON object that fits this JSON Schema: {schema}");
        check_as(
            &structured(schema),
            Structure::Json,
            json!({
                "model": "m", "stream": false, "format": "json",
                "messages": [{"role": "system", "content": told}, {"role": "user", "content": "Hi"}],
            }),
        );
    }
}
