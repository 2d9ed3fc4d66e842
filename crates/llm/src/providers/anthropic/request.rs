//! A request in Anthropic's JSON.

use serde::Serialize;
use serde_json::Value;

use super::wording::{Structure, Wording};
use crate::chat::{ChatRequest, Part, Role};
use crate::providers::schema::{self, Rules};

/// The API insists on a limit; this one every model still sold allows.
const DEFAULT_MAX_TOKENS: u32 = 8_192;

/// The limit that is sent for an answer.
pub(super) fn answer_limit(request: &ChatRequest) -> u32 {
    request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)
}

/// Tools take any JSON Schema; unreadable patterns are the exception.
const TOOL: Rules = Rules {
    keywords: &[
        "type",
        "title",
        "description",
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
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
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    ],
    formats: &[
        "date-time",
        "date",
        "time",
        "email",
        "uri",
        "uuid",
        "ipv4",
        "ipv6",
    ],
};

/// What output formats enforce; unknown keywords are refused there.
const FORMAT: Rules = Rules {
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
        "format",
    ],
    formats: &[
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    ],
};

/// An answer's schema as it is sent.
#[derive(Debug)]
pub(crate) struct Schemas {
    tool: Value,
    format: Value,
}

impl Schemas {
    pub(super) fn fit(original: &Value) -> Self {
        let mut format = schema::restrict(original, &FORMAT);
        schema::close(&mut format);
        Self {
            tool: schema::restrict(original, &TOOL),
            format,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    /// Always said: servers that speak the dialect may stream unless told not to.
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tool<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: Role,
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    /// What is a single text.
    Text(&'a str),
    Blocks(Vec<Block<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'a str },
}

/// A part of a turn: the one place that translates them.
fn block(part: &Part) -> Block<'_> {
    match part {
        Part::Text(text) => Block::Text { text },
    }
}

fn content(parts: &[Part]) -> Content<'_> {
    match parts {
        [Part::Text(text)] => Content::Text(text),
        parts => Content::Blocks(parts.iter().map(block).collect()),
    }
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: &'a Value,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolChoice<'a> {
    Tool {
        name: &'a str,
        disable_parallel_tool_use: bool,
    },
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonSchema { schema: &'a Value },
}

/// The whole request.
pub(super) fn body(
    model: &str,
    request: &ChatRequest,
    schemas: Option<&Schemas>,
    wording: Wording,
) -> serde_json::Result<Vec<u8>> {
    let (instructions, turns): (Vec<_>, Vec<_>) = request
        .messages
        .iter()
        .partition(|message| message.role == Role::System);
    let mut body = Body {
        model,
        max_tokens: answer_limit(request),
        messages: turns
            .into_iter()
            .map(|message| Message {
                role: message.role,
                content: content(&message.parts),
            })
            .collect(),
        system: (!instructions.is_empty()).then(|| {
            instructions
                .iter()
                .map(|message| message.text())
                .collect::<Vec<_>>()
                .join("\n\n")
        }),
        temperature: wording.temperature.of(request.temperature),
        stream: request.stream,
        tools: None,
        tool_choice: None,
        output_config: None,
    };
    if let (Some(output), Some(schemas)) = (&request.output, schemas) {
        match wording.structure {
            Structure::Tool => {
                let (name, description) = (&*output.name, output.description.as_deref());
                body.tools = Some([Tool {
                    name,
                    description,
                    input_schema: &schemas.tool,
                }]);
                body.tool_choice = Some(ToolChoice::Tool {
                    name,
                    disable_parallel_tool_use: true,
                });
            }
            Structure::Format => {
                body.output_config = Some(OutputConfig {
                    format: Format::JsonSchema {
                        schema: &schemas.format,
                    },
                });
            }
        }
    }
    serde_json::to_vec(&body)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use crate::chat::Message;
    use crate::providers::detour::Temperature;
    use crate::providers::test_request::{free, in_parts, structured};
    use serde_json::json;

    #[track_caller]
    fn check(request: &ChatRequest, wording: Wording, expected: Value) {
        let schemas = request
            .output
            .as_ref()
            .map(|output| Schemas::fit(&output.schema));
        let body = body("m", request, schemas.as_ref(), wording).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn free_text() {
        let mut request = free();
        let usual = Wording::default();
        check(
            &request,
            usual,
            json!({"model": "m", "max_tokens": 8192, "messages": [{"role": "user", "content": "Hi"}], "stream": false}),
        );
        request
            .messages
            .insert(0, Message::new(Role::System, "Be brief."));
        request
            .messages
            .push(Message::new(Role::Assistant, "Hello"));
        request.stream = true;
        request.temperature = Some(0.0);
        request.max_tokens = Some(9);
        check(
            &request,
            usual,
            json!({
                "model": "m", "max_tokens": 9, "system": "Be brief.", "temperature": 0.0, "stream": true,
                "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
            }),
        );
    }

    #[test]
    fn several_parts_are_blocks() {
        let mut request = free();
        request.messages = in_parts();
        check(
            &request,
            Wording::default(),
            json!({
                "model": "m", "max_tokens": 8192, "system": "Be brief.", "stream": false,
                "messages": [{"role": "user", "content": [
                    {"type": "text", "text": "Hi"}, {"type": "text", "text": " there"},
                ]}],
            }),
        );
    }

    #[test]
    fn structure_is_a_forced_tool() {
        let schema =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        check(
            &structured(schema.clone()),
            Wording::default(),
            json!({
                "model": "m", "max_tokens": 8192, "messages": [{"role": "user", "content": "Hi"}], "stream": false,
                "tools": [{"name": "Output_ask", "description": "An answer.", "input_schema": schema}],
                "tool_choice": {"type": "tool", "name": "Output_ask", "disable_parallel_tool_use": true},
            }),
        );
    }

    #[test]
    fn models_that_cannot_be_forced_get_a_format_and_no_temperature() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]});
        let request = ChatRequest {
            temperature: Some(0.5),
            ..structured(schema)
        };
        check(
            &request,
            Wording {
                structure: Structure::Format,
                temperature: Temperature::Omitted,
            },
            json!({
                "model": "m", "max_tokens": 8192, "messages": [{"role": "user", "content": "Hi"}], "stream": false,
                "output_config": {"format": {"type": "json_schema", "schema": {
                    "type": "object", "required": ["n"], "additionalProperties": false,
                    "properties": {"n": {"type": "integer", "description": "(at least 1)"}},
                }}},
            }),
        );
    }
}
