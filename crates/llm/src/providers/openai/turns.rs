//! Turns as messages in OpenAI's JSON: results are messages of their own.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::chat::{self, OpaquePart, Part, Role, ToolCall, ToolResult};

/// Whose opaque parts are ours.
const PROVIDER: &str = "openai";

#[derive(Serialize)]
pub(super) struct Message<'a> {
    role: &'static str,
    /// `null` beside calls.
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    /// Of models that want their thoughts back with their calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    /// What is a single text. Small servers know nothing else.
    Text(&'a str),
    Parts(Vec<ContentPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    Text { text: &'a str },
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledFunction<'a>,
    /// What compatible servers add, such as Gemini's signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a Value>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    /// JSON in a text; of a faulty call what the model wrote.
    arguments: Cow<'a, str>,
}

/// More than a part takes beside its text.
const PART_ENVELOPE: usize = 32;

/// More than a call takes beside name, id and arguments.
const CALL_ENVELOPE: usize = 96;

impl<'a> Message<'a> {
    fn new(role: &'static str, content: Option<Content<'a>>) -> Self {
        Self {
            role,
            content,
            tool_calls: Vec::new(),
            tool_call_id: None,
            reasoning_content: None,
        }
    }

    /// A system message of our own.
    pub(super) fn instruction(text: &'a str) -> Self {
        Self::new("system", Some(Content::Text(text)))
    }

    fn of_result(result: &'a ToolResult) -> Self {
        Self {
            tool_call_id: Some(&result.call_id),
            ..Self::new("tool", Some(Content::Text(&result.content)))
        }
    }

    /// About as many bytes as it takes in a request.
    pub(super) fn bytes(&self) -> usize {
        let content = match &self.content {
            None => 0,
            Some(Content::Text(text)) => text.len(),
            Some(Content::Parts(parts)) => {
                let parts = parts.iter().map(|ContentPart::Text { text }| text.len());
                parts.map(|bytes| bytes + PART_ENVELOPE).sum()
            }
        };
        let calls = self.tool_calls.iter();
        let calls = calls.map(|call| call.function.arguments.len() + CALL_ENVELOPE);
        content + calls.sum::<usize>()
    }
}

/// The messages of a conversation, in its order: the one place that translates parts.
pub(super) fn turns(messages: &[chat::Message]) -> impl Iterator<Item = Message<'_>> {
    messages.iter().flat_map(|message| {
        let results = message.parts.iter().filter_map(|part| match part {
            Part::ToolResult(result) => Some(Message::of_result(result)),
            Part::Text(_) | Part::ToolCall(_) | Part::Opaque(_) => None,
        });
        // Results directly follow their calls.
        results.chain(said(message))
    })
}

/// A turn without its results; `None` if they were all there was.
fn said(message: &chat::Message) -> Option<Message<'_>> {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    if let [Part::Text(text)] = &*message.parts {
        return Some(Message::new(role, Some(Content::Text(text))));
    }
    let mut texts = Vec::new();
    let mut turn = Message::new(role, None);
    let mut has_results = false;
    for part in &*message.parts {
        match part {
            Part::Text(text) => texts.push(&**text),
            Part::ToolCall(call) => turn.tool_calls.push(of_call(call, &message.parts)),
            Part::ToolResult(_) => has_results = true,
            Part::Opaque(opaque) if opaque.provider == PROVIDER => {
                let thoughts = opaque.value.get("reasoning_content");
                turn.reasoning_content = thoughts.or(turn.reasoning_content);
            }
            Part::Opaque(_) => {}
        }
    }
    turn.content = match &*texts {
        [] if has_results => return None,
        [] if !turn.tool_calls.is_empty() => None,
        [text] => Some(Content::Text(text)),
        texts => Some(Content::Parts(
            texts
                .iter()
                .map(|text| ContentPart::Text { text })
                .collect(),
        )),
    };
    Some(turn)
}

fn of_call<'a>(call: &'a ToolCall, parts: &'a [Part]) -> Call<'a> {
    let belongs = |opaque: &&OpaquePart| {
        opaque.provider == PROVIDER && opaque.of_call.as_ref() == Some(&call.id)
    };
    let opaque = parts.iter().filter_map(|part| match part {
        Part::Opaque(opaque) => Some(opaque),
        Part::Text(_) | Part::ToolCall(_) | Part::ToolResult(_) => None,
    });
    Call {
        id: &call.id,
        kind: "function",
        function: CalledFunction {
            name: &call.name,
            arguments: call.arguments.text(),
        },
        extra_content: opaque
            .filter(belongs)
            .find_map(|opaque| opaque.value.get("extra_content")),
    }
}
