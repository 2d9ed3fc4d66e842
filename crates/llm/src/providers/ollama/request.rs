//! A request in Ollama's JSON.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::wording::Structure;
use crate::chat::{self, ChatRequest, Part, ReasoningEffort, Role, ToolChoice, ToolResult};
use crate::providers::schema::{self, Rules};
use crate::providers::tools::{Tools, object};

/// Whose opaque parts are ours.
const PROVIDER: &str = "ollama";

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

/// A tool's schema.
pub(super) fn fit_tool(schema: &Value) -> Value {
    schema::restrict(schema, &RULES)
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
    options: Option<Options<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<ReasoningEffort>,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: &'a RawValue,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    /// Of a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
    /// The model's thoughts before its calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a Value>,
}

#[derive(Serialize)]
struct Call<'a> {
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: Map<String, Value>,
}

impl<'a> Message<'a> {
    fn new(role: &'static str, content: impl Into<Cow<'a, str>>) -> Self {
        Self {
            role,
            content: content.into(),
            tool_calls: Vec::new(),
            tool_name: None,
            thinking: None,
        }
    }

    /// The API knows results by the tool's name and their order.
    fn of_result(result: &'a ToolResult) -> Self {
        Self {
            tool_name: Some(&result.name),
            ..Self::new("tool", &*result.content)
        }
    }
}

/// A turn: the one place that translates parts. The API has one text for each turn; what is no text
/// goes beside it, and results are messages of their own.
fn messages(message: &chat::Message) -> impl Iterator<Item = Message<'_>> {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mut turn = Message::new(role, "");
    let mut results = Vec::new();
    let mut has_text = false;
    for part in &*message.parts {
        match part {
            Part::Text(text) => {
                has_text = true;
                turn.content += &**text;
            }
            Part::ToolCall(call) => turn.tool_calls.push(Call {
                function: CalledFunction {
                    name: &call.name,
                    arguments: object(&call.arguments),
                },
            }),
            Part::ToolResult(result) => results.push(Message::of_result(result)),
            Part::Opaque(opaque) if opaque.provider == PROVIDER => {
                turn.thinking = opaque.value.get("thinking").or(turn.thinking);
            }
            Part::Opaque(_) => {}
        }
    }
    // Results directly follow their calls.
    let only_results = !results.is_empty() && !has_text;
    results.into_iter().chain((!only_results).then_some(turn))
}

#[derive(Serialize, Default, PartialEq)]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    num_ctx: Option<u32>,
}

/// The whole request. `schema` is there exactly when the request wants structure.
pub(super) fn body(
    model: &str,
    request: &ChatRequest,
    schema: Option<&Schema>,
    tools: &Tools<'_>,
    structure: Structure,
) -> serde_json::Result<Vec<u8>> {
    let options = Options {
        temperature: request.temperature,
        num_predict: request.max_tokens,
        top_p: request.sampling.top_p,
        seed: request.sampling.seed,
        stop: &request.sampling.stop,
        num_ctx: request.sampling.num_ctx,
    };
    let told = schema.filter(|schema| schema.says_more || structure == Structure::Json);
    let instruction = told.map(|schema| Message::new("system", &*schema.instruction));
    let turns = request.messages.iter().flat_map(messages);
    // The API has no choice of tools. The closest to a forced one is to offer nothing else.
    let is_offered = |name: &str| !matches!(tools.choice(), ToolChoice::Tool(only) if only != name);
    serde_json::to_vec(&Body {
        model,
        messages: instruction.into_iter().chain(turns).collect(),
        stream: request.stream,
        format: schema.map(|schema| match structure {
            Structure::Schema => Format::Schema(&schema.grammar),
            Structure::Json => Format::Name("json"),
        }),
        options: (options != Options::default()).then_some(options),
        tools: tools
            .sent()
            .filter(|tool| is_offered(tool.name))
            .map(|tool| Tool {
                kind: "function",
                function: Function {
                    name: tool.name,
                    description: tool.description,
                    parameters: tool.schema,
                },
            })
            .collect(),
        think: request
            .sampling
            .reasoning_effort
            .map(|effort| match effort {
                ReasoningEffort::Minimal => ReasoningEffort::Low,
                effort => effort,
            }),
    })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use crate::providers::ollama::Ollama;
    use crate::providers::test_request::{
        after_calls, body_of, free, in_parts, offering, structured,
    };
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
        let body = body("m", request, schema.as_ref(), &Tools::default(), structure).unwrap();
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

    /// T13, T25
    #[test]
    fn calls_and_results() {
        let mut request = after_calls("ollama", json!({"thinking": "why"}), None);
        request.sampling.num_ctx = Some(9);
        request.sampling.reasoning_effort = Some(ReasoningEffort::Minimal);
        let call = |arguments| json!({"function": {"name": "get", "arguments": arguments}});
        let schema =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        assert_eq!(
            body_of::<Ollama>(&request, Structure::Schema),
            json!({
                "model": "m", "stream": false, "options": {"num_ctx": 9}, "think": "low",
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Let me see.", "thinking": "why",
                     "tool_calls": [call(json!({"n": 1})), call(json!({"INVALID_JSON": "{\"n\""}))]},
                    {"role": "tool", "tool_name": "get", "content": "one"},
                    {"role": "tool", "tool_name": "get", "content": "not JSON"},
                    {"role": "user", "content": "Go on."},
                ],
                "tools": [{"type": "function", "function": {"name": "get", "description": "A tool.", "parameters": schema}}],
            })
        );
    }

    #[test]
    fn a_forced_tool_is_the_only_one_offered() {
        let schema = json!({"type": "object", "properties": {}});
        let mut request = offering(&[("get", schema.clone()), ("put", schema)]);
        request.tool_choice = ToolChoice::Tool("put".to_owned());
        let body = body_of::<Ollama>(&request, Structure::Schema);
        assert_eq!(body["tools"].as_array().unwrap().len(), 1);
        assert_eq!(body["tools"][0]["function"]["name"], "put");
    }
}
