//! A request in Anthropic's JSON.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::turns::{CacheMark, Message, turn};
use super::wording::{Structure, Wording};
use crate::chat::{self, ChatRequest, ReasoningEffort, Role};
use crate::providers::schema::{self, Rules};
use crate::providers::tools::Tools;

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
    tool: Box<RawValue>,
    format: Value,
}

impl Schemas {
    pub(super) fn fit(original: &Value) -> Self {
        let mut format = schema::restrict(original, &FORMAT);
        schema::close(&mut format);
        Self {
            tool: to_raw_value(&fit_tool(original)).expect("a value has text keys"),
            format,
        }
    }
}

/// A tool's schema.
pub(super) fn fit_tool(schema: &Value) -> Value {
    schema::restrict(schema, &TOOL)
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<System>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    /// Always said: servers that speak the dialect may stream unless told not to.
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [String],
}

#[derive(Serialize)]
#[serde(untagged)]
enum System {
    Text(String),
    /// With a mark, up to which the provider keeps what it read.
    Marked([MarkedText; 1]),
}

#[derive(Serialize)]
struct MarkedText {
    #[serde(rename = "type")]
    kind: &'static str,
    text: String,
    cache_control: CacheMark,
}

impl System {
    fn new(text: String, is_marked: bool) -> Self {
        if is_marked {
            Self::Marked([MarkedText {
                kind: "text",
                text,
                cache_control: CacheMark::default(),
            }])
        } else {
            Self::Text(text)
        }
    }
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheMark>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolChoice<'a> {
    Any,
    Tool {
        name: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<ReasoningEffort>,
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
    tools: &Tools<'_>,
    wording: Wording,
) -> serde_json::Result<Vec<u8>> {
    let (instructions, turns): (Vec<_>, Vec<_>) = request
        .messages
        .iter()
        .partition(|message| message.role == Role::System);
    // Conversations with tools send the same beginning again and again.
    let has_tools = !tools.is_empty();
    let mut messages: Vec<Message<'_>> = turns.into_iter().map(turn).collect();
    if has_tools && let Some(last) = messages.last_mut() {
        last.mark();
    }
    let system = (!instructions.is_empty()).then(|| {
        let texts = instructions.iter().map(|message| message.text());
        System::new(texts.collect::<Vec<_>>().join("\n\n"), has_tools)
    });
    let mut body = Body {
        model,
        max_tokens: answer_limit(request),
        messages,
        temperature: wording.temperature.of(request.temperature),
        stream: request.stream,
        tools: offered(tools, system.is_none()),
        system,
        tool_choice: match tools.choice() {
            chat::ToolChoice::Auto => None,
            chat::ToolChoice::Required => Some(ToolChoice::Any),
            chat::ToolChoice::Tool(name) => Some(ToolChoice::Tool {
                name,
                disable_parallel_tool_use: false,
            }),
        },
        output_config: None,
        top_p: request.sampling.top_p,
        stop_sequences: &request.sampling.stop,
    };
    let mut format = None;
    if let (Some(output), Some(schemas)) = (&request.output, schemas) {
        match wording.structure {
            Structure::Tool => {
                let (name, description) = (&*output.name, output.description.as_deref());
                // Beside other tools it must not be forced: they would never be called.
                if !has_tools {
                    body.tool_choice = Some(ToolChoice::Tool {
                        name,
                        disable_parallel_tool_use: true,
                    });
                }
                body.tools.push(Tool {
                    name,
                    description,
                    input_schema: &schemas.tool,
                    cache_control: None,
                });
            }
            Structure::Format => {
                format = Some(Format::JsonSchema {
                    schema: &schemas.format,
                });
            }
        }
    }
    let effort = request
        .sampling
        .reasoning_effort
        .map(|effort| match effort {
            ReasoningEffort::Minimal => ReasoningEffort::Low,
            effort => effort,
        });
    body.output_config =
        (format.is_some() || effort.is_some()).then_some(OutputConfig { format, effort });
    serde_json::to_vec(&body)
}

/// The tools, the last of them marked if nothing behind them can be.
fn offered<'a>(tools: &'a Tools<'_>, is_marked: bool) -> Vec<Tool<'a>> {
    let tools = tools.sent().map(|tool| Tool {
        name: tool.name,
        description: tool.description,
        input_schema: tool.schema,
        cache_control: None,
    });
    let mut tools: Vec<_> = tools.collect();
    if is_marked && let Some(last) = tools.last_mut() {
        last.cache_control = Some(CacheMark::default());
    }
    tools
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use crate::chat::Message;
    use crate::providers::anthropic::Anthropic;
    use crate::providers::detour::Temperature;
    use crate::providers::test_request::{
        after_calls, body_of, free, in_parts, offering, structured,
    };
    use serde_json::json;

    #[track_caller]
    fn check(request: &ChatRequest, wording: Wording, expected: Value) {
        let schemas = request
            .output
            .as_ref()
            .map(|output| Schemas::fit(&output.schema));
        let body = body("m", request, schemas.as_ref(), &Tools::default(), wording).unwrap();
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

    /// T13, T25, T26: results come first, thoughts as they came, and the end of what will be sent
    /// again is marked.
    #[test]
    fn calls_and_results() {
        let thought = json!({"type": "thinking", "thinking": "why", "signature": "s=="});
        let mut request = after_calls("anthropic", thought.clone(), None);
        request.tool_choice = chat::ToolChoice::Required;
        let mark = json!({"type": "ephemeral"});
        let schema =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        assert_eq!(
            body_of::<Anthropic>(&request, Wording::default()),
            json!({
                "model": "m", "max_tokens": 8192, "stream": false, "tool_choice": {"type": "any"},
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": [
                        thought, {"type": "text", "text": "Let me see."},
                        {"type": "tool_use", "id": "a", "name": "get", "input": {"n": 1}},
                        {"type": "tool_use", "id": "b", "name": "get", "input": {"INVALID_JSON": "{\"n\""}},
                    ]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "a", "content": "one"},
                        {"type": "tool_result", "tool_use_id": "b", "content": "not JSON", "is_error": true},
                        {"type": "text", "text": "Go on.", "cache_control": mark},
                    ]},
                ],
                "tools": [{"name": "get", "description": "A tool.", "input_schema": schema, "cache_control": mark}],
            })
        );
    }

    #[test]
    fn a_system_text_is_marked_behind_the_tools() {
        let mut request = offering(&[("get", json!({"type": "object", "properties": {}}))]);
        request
            .messages
            .insert(0, Message::new(Role::System, "Be brief."));
        let body = body_of::<Anthropic>(&request, Wording::default());
        assert_eq!(
            body["system"],
            json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}])
        );
        assert_eq!(body["tools"][0].get("cache_control"), None);
    }
}
