//! A request in OpenAI's JSON.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::quirks::{MaxTokens, Structure, Wording};
use crate::chat::{ChatRequest, Part, Role};
use crate::providers::schema::{self, Rules};

/// What strict mode enforces.
const STRICT: Rules = Rules {
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
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
    ],
    formats: &[
        "date-time",
        "date",
        "time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uuid",
    ],
};

/// An answer's schema as it is sent: in every request the same text.
#[derive(Debug)]
pub(crate) struct Schemas {
    schema: Box<RawValue>,
    strict: bool,
    /// The schema in words, and whether it says more than a grammar enforces.
    instruction: String,
    says_more: bool,
}

impl Schemas {
    /// Open schemas (maps, optional properties) cannot be strict. They are fitted all the same:
    /// servers that turn schemas into grammars refuse a request over one pattern or format they do
    /// not know.
    pub(super) fn fit(original: &Value) -> Self {
        let mut schema = schema::restrict(original, &STRICT);
        let strict = schema::is_closed(&schema);
        if strict {
            schema::close(&mut schema);
        }
        let says_more = schema::says_more(&schema);
        let schema = to_raw_value(&schema).expect("a value has text keys");
        Self {
            instruction: schema::instruction(schema.get()),
            schema,
            strict,
            says_more,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    /// Always said: some servers stream unless told not to.
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tool<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: Role,
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    /// What is a single text. Small servers know nothing else.
    Text(&'a str),
    Parts(Vec<ContentPart<'a>>),
}

impl Content<'_> {
    /// About as many as it takes in a request.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Parts(parts) => {
                let parts = parts.iter().map(|ContentPart::Text { text }| text.len());
                parts.map(|bytes| bytes + PART_ENVELOPE).sum()
            }
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    Text { text: &'a str },
}

/// A part of a turn: the one place that translates them.
fn part(part: &Part) -> ContentPart<'_> {
    match part {
        Part::Text(text) => ContentPart::Text { text },
    }
}

fn content(parts: &[Part]) -> Content<'_> {
    match parts {
        [Part::Text(text)] => Content::Text(text),
        parts => Content::Parts(parts.iter().map(part).collect()),
    }
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonSchema { json_schema: Described<'a> },
    JsonObject,
}

/// A named schema, as `response_format` wants it.
#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    strict: bool,
    schema: &'a RawValue,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tool<'a> {
    Function { function: Function<'a> },
}

/// A named schema, as tools want it. Strictness is left out: older servers refuse it there.
#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: &'a RawValue,
}

/// More than a request takes beside its texts and its schema, as long as no text needs many
/// escapes.
const ENVELOPE: usize = 512;

/// More than a part takes beside its text.
const PART_ENVELOPE: usize = 32;

/// The whole request.
pub(super) fn body<'a>(
    model: &'a str,
    request: &'a ChatRequest,
    schemas: Option<&'a Schemas>,
    wording: Wording,
) -> serde_json::Result<Vec<u8>> {
    let mut body = Body {
        model,
        messages: Vec::with_capacity(request.messages.len() + 1),
        temperature: wording.temperature.of(request.temperature),
        max_tokens: request
            .max_tokens
            .filter(|_| wording.max_tokens == MaxTokens::Classic),
        max_completion_tokens: request
            .max_tokens
            .filter(|_| wording.max_tokens == MaxTokens::Completion),
        stream: request.stream,
        stream_options: (request.stream && wording.stream_usage).then_some(StreamOptions {
            include_usage: true,
        }),
        response_format: None,
        tools: None,
        tool_choice: None,
    };
    let instruct = |schemas: &'a Schemas| Message {
        role: Role::System,
        content: Content::Text(&schemas.instruction),
    };
    if let (Some(output), Some(schemas)) = (&request.output, schemas) {
        let (name, description) = (&*output.name, output.description.as_deref());
        match wording.structure {
            Structure::JsonSchema => {
                if schemas.says_more && !wording.shows_schema {
                    body.messages.push(instruct(schemas));
                }
                let json_schema = Described {
                    name,
                    description,
                    strict: schemas.strict,
                    schema: &schemas.schema,
                };
                body.response_format = Some(ResponseFormat::JsonSchema { json_schema });
            }
            Structure::Tool => {
                let function = Function {
                    name,
                    description,
                    parameters: &schemas.schema,
                };
                body.tools = Some([Tool::Function { function }]);
                body.tool_choice = Some(json!({"type": "function", "function": {"name": name}}));
            }
            Structure::JsonObject | Structure::Message => {
                body.messages.push(instruct(schemas));
                if wording.structure == Structure::JsonObject {
                    body.response_format = Some(ResponseFormat::JsonObject);
                }
            }
        }
    }
    body.messages
        .extend(request.messages.iter().map(|message| Message {
            role: message.role,
            content: content(&message.parts),
        }));
    let texts = body.messages.iter().map(|message| message.content.bytes());
    let schema = schemas.map_or(0, |schemas| schemas.schema.get().len());
    let mut bytes = Vec::with_capacity(ENVELOPE + schema + texts.sum::<usize>());
    serde_json::to_writer(&mut bytes, &body)?;
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use crate::providers::detour::Temperature;
    use crate::providers::test_request::{free, in_parts, structured};

    #[track_caller]
    fn check(request: &ChatRequest, structure: Structure, expected: Value) {
        let schemas = request
            .output
            .as_ref()
            .map(|output| Schemas::fit(&output.schema));
        let wording = Wording {
            structure,
            ..Wording::at(None)
        };
        let body = body("m", request, schemas.as_ref(), wording).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn free_text() {
        let mut request = free();
        check(
            &request,
            Structure::JsonSchema,
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": false}),
        );
        request.stream = true;
        request.temperature = Some(0.5);
        request.max_tokens = Some(9);
        check(
            &request,
            Structure::JsonSchema,
            json!({
                "model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5, "max_tokens": 9,
                "stream": true, "stream_options": {"include_usage": true},
            }),
        );
    }

    #[test]
    fn several_parts_are_a_list() {
        let mut request = free();
        request.messages = in_parts();
        check(
            &request,
            Structure::JsonSchema,
            json!({"model": "m", "stream": false, "messages": [
                {"role": "system", "content": [
                    {"type": "text", "text": "Be "}, {"type": "text", "text": "brief."},
                ]},
                {"role": "user", "content": [
                    {"type": "text", "text": "Hi"}, {"type": "text", "text": " there"},
                ]},
            ]}),
        );
    }

    #[test]
    fn openai_itself_wants_max_completion_tokens() {
        let mut request = free();
        request.max_tokens = Some(9);
        let wording = Wording::at(Some("api.openai.com"));
        let body: Value =
            serde_json::from_slice(&body("m", &request, None, wording).unwrap()).unwrap();
        assert_eq!(
            (&body["max_completion_tokens"], &body["max_tokens"]),
            (&json!(9), &Value::Null)
        );
    }

    #[test]
    fn a_refused_temperature_is_left_out() {
        let mut request = free();
        request.temperature = Some(0.5);
        let wording = Wording {
            temperature: Temperature::Omitted,
            ..Wording::at(None)
        };
        let body: Value =
            serde_json::from_slice(&body("m", &request, None, wording).unwrap()).unwrap();
        assert_eq!(body["temperature"], Value::Null);
    }

    #[test]
    fn structure_in_three_ways() {
        let request = structured(
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
        );
        let messages = json!([{"role": "user", "content": "Hi"}]);
        let schema = json!({
            "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false,
        });
        check(
            &request,
            Structure::JsonSchema,
            json!({"model": "m", "messages": messages, "stream": false, "response_format": {"type": "json_schema", "json_schema": {
                "name": "Output_ask", "description": "An answer.", "strict": true, "schema": schema,
            }}}),
        );
        check(
            &request,
            Structure::Tool,
            json!({
                "model": "m", "messages": messages, "stream": false,
                "tools": [{"type": "function", "function": {
                    "name": "Output_ask", "description": "An answer.", "parameters": schema,
                }}],
                "tool_choice": {"type": "function", "function": {"name": "Output_ask"}},
            }),
        );
        let instruction =
            format!("Answer with one JSON object that fits this JSON Schema: {schema}");
        check(
            &request,
            Structure::JsonObject,
            json!({
                "model": "m", "response_format": {"type": "json_object"}, "stream": false,
                "messages": [{"role": "system", "content": instruction}, {"role": "user", "content": "Hi"}],
            }),
        );
    }

    /// The system message of a question at a host, if there is one.
    fn told(host: Option<&str>, property: Value) -> Option<String> {
        let request = structured(json!({"type": "object", "properties": {"n": property}}));
        let schemas = Schemas::fit(&request.output.as_ref().unwrap().schema);
        let body = body("m", &request, Some(&schemas), Wording::at(host)).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let first = &body["messages"][0];
        (first["role"] == "system").then(|| first["content"].as_str().unwrap().to_owned())
    }

    #[test]
    fn servers_that_only_constrain_get_descriptions_and_limits_in_the_message() {
        let limited = || json!({"type": "integer", "maximum": 5});
        let schema = json!({"type": "object", "properties": {"n": limited()}});
        let expected = format!("Answer with one JSON object that fits this JSON Schema: {schema}");
        assert_eq!(told(Some("localhost"), limited()), Some(expected));
        let described = json!({"type": "string", "description": "In French."});
        let instruction = told(None, described).unwrap();
        assert!(instruction.contains("In French."), "{instruction}");
        assert_eq!(told(None, json!({"type": "integer"})), None);
        assert_eq!(told(Some("api.openai.com"), limited()), None);
    }

    #[test]
    fn a_schema_in_the_message_alone() {
        let schema =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        let sent = json!({
            "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false,
        });
        check(
            &structured(schema),
            Structure::Message,
            json!({
                "model": "m", "stream": false,
                "messages": [
                    {"role": "system", "content": format!("Answer with one JSON object that fits this JSON Schema: {sent}")},
                    {"role": "user", "content": "Hi"},
                ],
            }),
        );
    }

    #[test]
    fn open_schemas_are_not_strict() {
        let request = structured(
            json!({"type": "object", "properties": {"m": {"type": "object"}}, "required": ["m"]}),
        );
        let schemas = Schemas::fit(&request.output.unwrap().schema);
        assert!(!schemas.strict);
        let schema: Value = serde_json::from_str(schemas.schema.get()).unwrap();
        assert_eq!(schema["additionalProperties"], Value::Null);
    }
}
