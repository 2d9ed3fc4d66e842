//! A request in Gemini's JSON.

use serde::Serialize;
use serde_json::{Map, Value};

use super::tools::{DeclaredTools, JSON_SCHEMA, ToolConfig, declare};
use super::turns::{Content, Part, contents};
use super::wording::Structure;
use crate::chat::{ChatRequest, ReasoningEffort};
use crate::providers::schema::{self, Rules};
use crate::providers::tools::Tools;

/// `responseSchema`, the subset of OpenAPI that every Gemini model takes.
const OPEN_API: Rules = Rules {
    keywords: &[
        "type",
        "description",
        "properties",
        "required",
        "items",
        "anyOf",
        "enum",
        "pattern",
        "format",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
    ],
    formats: &["date-time"],
};

/// An answer's schema as it is sent.
#[derive(Debug, PartialEq)]
pub(crate) enum Schema {
    OpenApi(Value),
    Json(Value),
}

impl Schema {
    /// Maps and enumerated numbers can only be told as JSON Schema.
    pub(super) fn fit(original: &Value) -> Self {
        if fits_open_api(original) {
            let mut schema = schema::restrict(original, &OPEN_API);
            upper_case_types(&mut schema);
            Self::OpenApi(schema)
        } else {
            Self::Json(schema::restrict(original, &JSON_SCHEMA))
        }
    }
}

fn fits_open_api(schema: &Value) -> bool {
    let Value::Object(schema) = schema else {
        return false;
    };
    let own = match schema.get("type").and_then(Value::as_str) {
        Some("object") => schema
            .get("properties")
            .and_then(Value::as_object)
            .is_some_and(|fields| !fields.is_empty()),
        Some("array") => schema.contains_key("items"),
        Some("string") => true,
        Some(_) => !schema.contains_key("enum"),
        None => schema.contains_key("anyOf"),
    };
    own && schema
        .get("additionalProperties")
        .is_none_or(Value::is_boolean)
        && schema::below(schema).all(fits_open_api)
}

/// The names of the API's own enumeration of types.
fn upper_case_types(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    if let Some(Value::String(name)) = schema.get_mut("type") {
        name.make_ascii_uppercase();
    }
    let fields = schema
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut);
    fields.for_each(upper_case_types);
    schema
        .get_mut("items")
        .into_iter()
        .for_each(upper_case_types);
    schema
        .get_mut("anyOf")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .for_each(upper_case_types);
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_config: Option<Config<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[DeclaredTools<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
}

#[derive(Serialize, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_schema: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<Thinking>,
}

#[derive(Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Thinking {
    thinking_level: ReasoningEffort,
}

/// The whole request. `schema` is there exactly when the request wants structure.
pub(super) fn body(
    request: &ChatRequest,
    schema: Option<&Schema>,
    tools: &Tools<'_>,
    structure: Structure,
) -> serde_json::Result<Vec<u8>> {
    let mut config = Config {
        temperature: request.temperature,
        max_output_tokens: request.max_tokens,
        top_p: request.sampling.top_p,
        seed: request.sampling.seed,
        stop_sequences: &request.sampling.stop,
        thinking_config: request
            .sampling
            .reasoning_effort
            .map(|thinking_level| Thinking { thinking_level }),
        ..Config::default()
    };
    // Outlives the part that borrows it.
    let instruction;
    let mut instructions = Vec::new();
    if let Some(schema) = schema {
        config.response_mime_type = Some("application/json");
        match (structure, schema) {
            (Structure::Schema, Schema::OpenApi(schema)) => config.response_schema = Some(schema),
            (Structure::Schema, Schema::Json(schema)) => {
                config.response_json_schema = Some(schema);
            }
            (Structure::Message, Schema::OpenApi(schema) | Schema::Json(schema)) => {
                instruction = schema::instruction(&schema.to_string());
                instructions.push(Part::text(&instruction));
            }
        }
    }
    let contents = contents(&request.messages, &mut instructions);
    let (tools, tool_config) = declare(tools);
    serde_json::to_vec(&Body {
        contents,
        system_instruction: (!instructions.is_empty())
            .then_some(Content::instruction(instructions)),
        generation_config: (config != Config::default()).then_some(config),
        tools,
        tool_config,
    })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use crate::chat::{Message, Role};
    use crate::providers::google::{Google, Wording};
    use crate::providers::test_request::{after_calls, body_of, free, in_parts, structured};
    use serde_json::json;

    #[track_caller]
    fn check(request: &ChatRequest, expected: Value) {
        let schema = request
            .output
            .as_ref()
            .map(|output| Schema::fit(&output.schema));
        let body = body(
            request,
            schema.as_ref(),
            &Tools::default(),
            Structure::Schema,
        )
        .unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn free_text() {
        let mut request = free();
        check(
            &request,
            json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
        );
        request
            .messages
            .insert(0, Message::new(Role::System, "Be brief."));
        request
            .messages
            .push(Message::new(Role::Assistant, "Hello"));
        request.temperature = Some(0.5);
        request.max_tokens = Some(9);
        check(
            &request,
            json!({
                "contents": [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Hello"}]}],
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "generationConfig": {"temperature": 0.5, "maxOutputTokens": 9},
            }),
        );
    }

    #[test]
    fn several_parts_are_parts() {
        let mut request = free();
        request.messages = in_parts();
        check(
            &request,
            json!({
                "contents": [{"role": "user", "parts": [{"text": "Hi"}, {"text": " there"}]}],
                "systemInstruction": {"parts": [{"text": "Be "}, {"text": "brief."}]},
            }),
        );
    }

    #[test]
    fn structure_is_a_response_schema() {
        let schema = json!({
            "type": "object", "required": ["n", "tags"], "additionalProperties": false,
            "properties": {
                "n": {"type": "integer", "minimum": 1},
                "tags": {"type": "array", "items": {"type": "string", "format": "email"}},
            },
        });
        check(
            &structured(schema),
            json!({
                "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
                "generationConfig": {"responseMimeType": "application/json", "responseSchema": {
                    "type": "OBJECT", "required": ["n", "tags"],
                    "properties": {
                        "n": {"type": "INTEGER", "minimum": 1},
                        "tags": {"type": "ARRAY", "items": {"type": "STRING", "description": "(is written as email)"}},
                    },
                }},
            }),
        );
    }

    #[test]
    fn a_refused_schema_is_told() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let request = structured(schema);
        let fitted = Schema::fit(&request.output.as_ref().unwrap().schema);
        let body = body(
            &request,
            Some(&fitted),
            &Tools::default(),
            Structure::Message,
        )
        .unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({
                "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
                "systemInstruction": {"parts": [{"text":
                    "Answer with one JSON object that fits this JSON Schema: \
                     {\"type\":\"OBJECT\",\"properties\":{\"n\":{\"type\":\"INTEGER\"}}}"
                }]},
                "generationConfig": {"responseMimeType": "application/json"},
            })
        );
    }

    #[test]
    fn maps_need_json_schema() {
        let schema = json!({
            "type": "object", "required": ["m"],
            "properties": {"m": {"type": "object", "additionalProperties": {"type": "integer"}}},
        });
        assert_eq!(Schema::fit(&schema), Schema::Json(schema));
        let numbers =
            json!({"type": "object", "properties": {"n": {"type": "integer", "enum": [1, 2]}}});
        assert_eq!(Schema::fit(&numbers), Schema::Json(numbers));
    }

    /// T13, T25, T26: a signature goes back in the part of its call.
    #[test]
    fn calls_and_results() {
        let mut request = after_calls("google", json!({"thoughtSignature": "s=="}), Some("a"));
        request.tool_choice = crate::chat::ToolChoice::Tool("get".to_owned());
        let schema =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        assert_eq!(
            body_of::<Google>(&request, Wording::default()),
            json!({
                "contents": [
                    {"role": "user", "parts": [{"text": "Hi"}]},
                    {"role": "model", "parts": [
                        {"text": "Let me see."},
                        {"functionCall": {"id": "a", "name": "get", "args": {"n": 1}}, "thoughtSignature": "s=="},
                        {"functionCall": {"id": "b", "name": "get", "args": {"INVALID_JSON": "{\"n\""}}},
                    ]},
                    {"role": "user", "parts": [
                        {"functionResponse": {"id": "a", "name": "get", "response": {"output": "one"}}},
                        {"functionResponse": {"id": "b", "name": "get", "response": {"error": "not JSON"}}},
                        {"text": "Go on."},
                    ]},
                ],
                "tools": [{"functionDeclarations": [{"name": "get", "description": "A tool.", "parametersJsonSchema": schema}]}],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get"]}},
            })
        );
    }
}
