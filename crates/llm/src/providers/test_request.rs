//! Requests and stream readings the dialects' tests share.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::partial::Offer;
use super::reading::{self, ParsedReply, ReplyStream};
use super::tools::{ToolShape, Tools};
use super::{Dialect, Fault};
use crate::answer::Answer;
use crate::chat::{
    AnswerFilter, Arguments, ChatRequest, ExtraHeaders, Message, OpaquePart, OutputFormat, Part,
    Role, Sampling, ToolCall, ToolChoice, ToolDefinition, ToolResult,
};

/// "Hi", in free text.
pub(crate) fn free() -> ChatRequest {
    ChatRequest {
        label: "ask".into(),
        messages: vec![Message::new(Role::User, "Hi")],
        output: None,
        temperature: None,
        max_tokens: None,
        timeout: Duration::from_secs(5),
        stream: false,
        trace_parent: None,
        tools: Arc::default(),
        tool_choice: ToolChoice::default(),
        sampling: Sampling::default(),
        extra_headers: ExtraHeaders::default(),
    }
}

/// "Hi", with tools of these names and schemas.
pub(crate) fn offering(tools: &[(&str, Value)]) -> ChatRequest {
    let tools = tools.iter().map(|(name, schema)| ToolDefinition {
        name: (*name).into(),
        description: Some("A tool.".into()),
        schema: Arc::new(schema.clone()),
    });
    ChatRequest {
        tools: tools.collect(),
        ..free()
    }
}

/// "Hi" and a tool; the model called it twice, the second time with arguments that are no JSON, and
/// has thought for `provider`.
pub(crate) fn after_calls(provider: &str, thought: Value, of_call: Option<&str>) -> ChatRequest {
    let schema = serde_json::json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let mut request = offering(&[("get", schema)]);
    let call = |id: &str, arguments| ToolCall {
        id: id.to_owned(),
        name: "get".to_owned(),
        arguments: Arguments::read(arguments),
    };
    let result = |call_id: &str, content: &str, is_error| ToolResult {
        call_id: call_id.to_owned(),
        name: "get".to_owned(),
        content: content.to_owned(),
        is_error,
    };
    let opaque = |provider: &str, value| {
        Part::Opaque(OpaquePart {
            provider: provider.to_owned(),
            of_call: of_call.map(str::to_owned),
            value,
        })
    };
    request.messages.push(Message {
        role: Role::Assistant,
        parts: vec![
            opaque("another", Value::from("never sent")),
            opaque(provider, thought),
            Part::Text("Let me see.".to_owned()),
            Part::ToolCall(call("a", r#"{"n":1}"#)),
            Part::ToolCall(call("b", r#"{"n""#)),
        ]
        .into(),
    });
    request.messages.push(Message {
        role: Role::User,
        parts: vec![
            Part::Text("Go on.".to_owned()),
            Part::ToolResult(result("a", "one", false)),
            Part::ToolResult(result("b", "not JSON", true)),
        ]
        .into(),
    });
    request
}

/// The body of a request in a dialect.
pub(crate) fn body_of<D: Dialect>(request: &ChatRequest, wording: D::Wording) -> Value {
    let schemas = request.output.as_ref().map(|output| D::fit(&output.schema));
    let tools = Tools::of(request, |schema| {
        Arc::new(ToolShape::new(schema, D::fit_tool))
    });
    let body = D::body("m", request, schemas.as_ref(), &tools, wording).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// The first call of a conversation that offers tools of a provider.
pub(crate) const fn offer(provider: &'static str) -> Offer {
    Offer {
        provider,
        earlier_calls: 0,
    }
}

/// Reads the calls of a body that came in one piece.
pub(crate) fn read_calls<D: Dialect>(provider: &'static str, body: &str) -> Answer {
    complete(reading::whole::<D>(body.as_bytes(), Some(offer(provider)))).unwrap()
}

/// Reads the calls of a streamed body, cut in two at every byte; all readings must agree. Also
/// gives the text that was emitted.
#[track_caller]
pub(crate) fn stream_calls<D: Dialect>(provider: &'static str, body: &str) -> (Answer, String) {
    let read = |cut: usize| {
        let (first, second) = body.as_bytes().split_at(cut);
        let mut stream = ReplyStream::<D>::new(Some(offer(provider)));
        let mut emitted = String::new();
        let mut emit = |text: &str| emitted.push_str(text);
        let mut is_done = false;
        for piece in [first, second] {
            is_done = is_done || stream.push(piece, &mut emit).unwrap();
        }
        let ending = if is_done {
            stream.finish()
        } else {
            stream.end(&mut emit)
        };
        (complete(ending).unwrap(), emitted)
    };
    let whole = read(0);
    for cut in 1..body.len() {
        assert_eq!(read(cut), whole, "cut at byte {cut}");
    }
    whole
}

/// The calls as `id name arguments`.
pub(crate) fn calls_of(answer: &Answer) -> Vec<String> {
    let calls = answer.calls.iter();
    calls
        .map(|call| format!("{} {} {}", call.id, call.name, call.arguments.text()))
        .collect()
}

/// A conversation of two turns, each of two texts.
pub(crate) fn in_parts() -> Vec<Message> {
    let message = |role, texts: [&str; 2]| Message {
        role,
        parts: texts
            .into_iter()
            .map(|text| Part::Text(text.to_owned()))
            .collect(),
    };
    vec![
        message(Role::System, ["Be ", "brief."]),
        message(Role::User, ["Hi", " there"]),
    ]
}

/// "Hi", with an answer of this shape.
pub(crate) fn structured(schema: Value) -> ChatRequest {
    let output = OutputFormat {
        name: "Output_ask".into(),
        description: Some("An answer.".into()),
        schema: Arc::new(schema),
        filter: AnswerFilter::default(),
    };
    ChatRequest {
        output: Some(output),
        ..free()
    }
}

/// An answer, if its body was complete.
fn complete(ending: Result<ParsedReply, Fault>) -> Result<Answer, Fault> {
    match ending? {
        ParsedReply {
            answer,
            is_complete: true,
        } => Ok(answer),
        ParsedReply { .. } => Err(Fault::Truncated),
    }
}

/// Reads a body that came in one piece.
pub(crate) fn read_whole<D: Dialect>(body: &[u8]) -> Result<Answer, Fault> {
    complete(reading::whole::<D>(body, None))
}

/// Reads a streamed body in these pieces; also gives the text that was emitted.
pub(crate) fn read_pieces<'a, D: Dialect>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Result<Answer, Fault>, String) {
    let mut stream = ReplyStream::<D>::new(None);
    let mut emitted = String::new();
    let mut emit = |text: &str| emitted.push_str(text);
    for piece in pieces {
        match stream.push(piece, &mut emit) {
            Ok(false) => {}
            Ok(true) => return (complete(stream.finish()), emitted),
            Err(fault) => return (Err(fault), emitted),
        }
    }
    let ending = stream.end(&mut emit);
    (complete(ending), emitted)
}

/// Reads a streamed body, cut in two at every byte; all readings must agree.
#[track_caller]
pub(crate) fn read_stream<D: Dialect>(_: &D, body: &str) -> (Result<Answer, Fault>, String) {
    let body = body.as_bytes();
    let whole = read_pieces::<D>([body]);
    for cut in 1..body.len() {
        assert_eq!(
            read_pieces::<D>([&body[..cut], &body[cut..]]),
            whole,
            "cut at byte {cut}"
        );
    }
    whole
}
