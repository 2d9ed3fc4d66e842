//! Turns as contents in Gemini's JSON.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::chat::{self, Role, ToolCall, ToolResult};
use crate::providers::calls::MADE_UP_ID;
use crate::providers::tools::object;

/// Whose opaque parts are ours.
const PROVIDER: &str = "google";

#[derive(Serialize)]
pub(super) struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Part<'a>>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a Value>,
}

#[derive(Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    args: Map<String, Value>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
struct Response<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    response: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome<'a> {
    Output(&'a str),
    Error(&'a str),
}

impl<'a> Content<'a> {
    pub(super) fn instruction(parts: Vec<Part<'a>>) -> Self {
        Self { role: None, parts }
    }
}

impl<'a> Part<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self {
            text: Some(text),
            ..Self::default()
        }
    }

    fn of_call(call: &'a ToolCall) -> Self {
        Self {
            function_call: Some(Call {
                id: own(&call.id),
                name: &call.name,
                args: object(&call.arguments),
            }),
            ..Self::default()
        }
    }

    fn of_result(result: &'a ToolResult) -> Self {
        let content = &*result.content;
        Self {
            function_response: Some(Response {
                id: own(&result.call_id),
                name: &result.name,
                response: if result.is_error {
                    Outcome::Error(content)
                } else {
                    Outcome::Output(content)
                },
            }),
            ..Self::default()
        }
    }
}

/// An id, if it is the provider's: not all of its models know others. Without ids the order counts.
fn own(id: &str) -> Option<&str> {
    (!id.starts_with(MADE_UP_ID)).then_some(id)
}

/// The conversation; its instructions go to a place of their own.
pub(super) fn contents<'a>(
    messages: &'a [chat::Message],
    instructions: &mut Vec<Part<'a>>,
) -> Vec<Content<'a>> {
    let mut contents = Vec::with_capacity(messages.len());
    for message in messages {
        let role = match message.role {
            Role::System => {
                instructions.extend(parts(message));
                continue;
            }
            Role::User => "user",
            Role::Assistant => "model",
        };
        contents.push(Content {
            role: Some(role),
            parts: parts(message),
        });
    }
    contents
}

/// The parts of a turn: the one place that translates them. The API wants all results in one turn
/// and nothing between them, and a signature in the part that it came with.
fn parts(message: &chat::Message) -> Vec<Part<'_>> {
    let mut results = Vec::new();
    let mut others: Vec<Part<'_>> = Vec::new();
    let mut signature = None;
    for part in &*message.parts {
        match part {
            chat::Part::Text(text) => others.push(Part::text(text)),
            chat::Part::ToolCall(call) => others.push(Part {
                thought_signature: signature.take(),
                ..Part::of_call(call)
            }),
            chat::Part::ToolResult(result) => results.push(Part::of_result(result)),
            chat::Part::Opaque(opaque) if opaque.provider == PROVIDER => {
                let kept = opaque.value.get("thoughtSignature");
                if opaque.of_call.is_some() {
                    signature = kept;
                } else {
                    others.push(Part {
                        thought_signature: kept,
                        ..Part::text("")
                    });
                }
            }
            chat::Part::Opaque(_) => {}
        }
    }
    results.extend(others);
    results
}
