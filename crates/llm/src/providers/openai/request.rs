//! A request in OpenAI's JSON.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::quirks::{MaxTokens, Structure, Wording};
use super::turns::{Message, turns};
use crate::chat::{ChatRequest, ReasoningEffort, ToolChoice};
use crate::providers::schema::{self, Rules};
use crate::providers::tools::Tools;

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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<ReasoningEffort>,
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

/// More than a tool takes beside its schema, as long as its description is short.
const TOOL_ENVELOPE: usize = 256;

/// A tool's schema. Strictness is left out, so that nothing has to be closed.
pub(super) fn fit_tool(schema: &Value) -> Value {
    schema::restrict(schema, &STRICT)
}

/// The choice of one function.
fn choice_of(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name}})
}

/// The whole request.
pub(super) fn body<'a>(
    model: &'a str,
    request: &'a ChatRequest,
    schemas: Option<&'a Schemas>,
    tools: &'a Tools<'_>,
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
        tools: tools
            .sent()
            .map(|tool| Tool::Function {
                function: Function {
                    name: tool.name,
                    description: tool.description,
                    parameters: tool.schema,
                },
            })
            .collect(),
        tool_choice: match tools.choice() {
            ToolChoice::Auto => None,
            ToolChoice::Required => Some(json!("required")),
            ToolChoice::Tool(name) => Some(choice_of(name)),
        },
        top_p: request.sampling.top_p,
        seed: request.sampling.seed,
        stop: &request.sampling.stop,
        reasoning_effort: request.sampling.reasoning_effort,
    };
    let instruct = |schemas: &'a Schemas| Message::instruction(&schemas.instruction);
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
                // Beside other tools it must not be forced: they would never be called.
                if body.tools.is_empty() {
                    body.tool_choice = Some(choice_of(name));
                }
                body.tools.push(Tool::Function { function });
            }
            Structure::JsonObject | Structure::Message => {
                body.messages.push(instruct(schemas));
                if wording.structure == Structure::JsonObject {
                    body.response_format = Some(ResponseFormat::JsonObject);
                }
            }
        }
    }
    body.messages.extend(turns(&request.messages));
    let texts = body.messages.iter().map(Message::bytes);
    let schema = schemas.map_or(0, |schemas| schemas.schema.get().len());
    let mut bytes = Vec::with_capacity(
        ENVELOPE
            + schema
            + texts.sum::<usize>()
            + tools.schema_bytes()
            + TOOL_ENVELOPE * body.tools.len(),
    );
    serde_json::to_writer(&mut bytes, &body)?;
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use crate::providers::detour::Temperature;
    use crate::providers::openai::OpenAi;
    use crate::providers::test_request::{after_calls, body_of, free, in_parts, structured};

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
        let body = body("m", request, schemas.as_ref(), &Tools::default(), wording).unwrap();
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
            serde_json::from_slice(&body("m", &request, None, &Tools::default(), wording).unwrap())
                .unwrap();
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
            serde_json::from_slice(&body("m", &request, None, &Tools::default(), wording).unwrap())
                .unwrap();
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
        let body = body(
            "m",
            &request,
            Some(&schemas),
            &Tools::default(),
            Wording::at(host),
        )
        .unwrap();
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

    /// T13, T25: every call has its result, also a faulty one, and parts of others stay behind.
    #[test]
    fn calls_and_results() {
        let thought = json!({"reasoning_content": "why"});
        let mut request = after_calls("openai", thought, None);
        request.tool_choice = ToolChoice::Required;
        let call = |id, arguments| json!({"id": id, "type": "function", "function": {"name": "get", "arguments": arguments}});
        let schema =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        assert_eq!(
            body_of::<OpenAi>(&request, Wording::at(None)),
            json!({
                "model": "m", "stream": false, "tool_choice": "required",
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Let me see.", "reasoning_content": "why",
                     "tool_calls": [call("a", "{\"n\":1}"), call("b", "{\"n\"")]},
                    {"role": "tool", "tool_call_id": "a", "content": "one"},
                    {"role": "tool", "tool_call_id": "b", "content": "not JSON"},
                    {"role": "user", "content": "Go on."},
                ],
                "tools": [{"type": "function", "function": {"name": "get", "description": "A tool.", "parameters": schema}}],
            })
        );
    }

    #[test]
    fn sampling_is_sent_where_it_is_set() {
        let mut request = free();
        request.sampling = crate::chat::Sampling {
            top_p: Some(0.5),
            seed: Some(7),
            stop: vec!["END".to_owned()],
            reasoning_effort: Some(ReasoningEffort::Low),
            num_ctx: Some(9),
        };
        assert_eq!(
            body_of::<OpenAi>(&request, Wording::at(None)),
            json!({
                "model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": false,
                "top_p": 0.5, "seed": 7, "stop": ["END"], "reasoning_effort": "low",
            })
        );
    }
}
