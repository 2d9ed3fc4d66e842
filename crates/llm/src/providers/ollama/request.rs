//! A request in Ollama's JSON.

use serde::Serialize;
use serde_json::Value;

use crate::chat::{ChatRequest, Role};
use crate::providers::schema::Rules;

/// What Ollama turns into a grammar.
pub(super) const RULES: Rules = Rules {
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

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    /// Always said: Ollama streams unless told not to.
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: Role,
    content: &'a str,
}

#[derive(Serialize, PartialEq)]
struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
}

/// `schema` is there exactly when the request wants structure.
pub(super) fn body(
    model: &str,
    request: &ChatRequest,
    schema: Option<&Value>,
) -> serde_json::Result<Vec<u8>> {
    let options = Options {
        temperature: request.temperature,
        num_predict: request.max_tokens,
    };
    serde_json::to_vec(&Body {
        model,
        messages: request
            .messages
            .iter()
            .map(|message| Message {
                role: message.role,
                content: &message.text,
            })
            .collect(),
        stream: request.stream,
        format: schema,
        options: (options.temperature.is_some() || options.num_predict.is_some())
            .then_some(options),
    })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use crate::providers::test_request::{free, structured};
    use serde_json::json;

    #[track_caller]
    fn check(request: &ChatRequest, expected: Value) {
        let schema = request
            .output
            .as_ref()
            .map(|output| (*output.schema).clone());
        let body = body("m", request, schema.as_ref()).unwrap();
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
    fn structure_is_a_format() {
        let schema =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        check(
            &structured(schema.clone()),
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": false, "format": schema}),
        );
    }
}
