//! Requests, replies, deltas and usage, independent of any provider.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use crate::message::{Arguments, Message, OpaquePart, Part, Parts, Role, ToolCall, ToolResult};
pub use crate::sampling::{ExtraHeaders, ReasoningEffort, Sampling};
pub use crate::tool::{ToolChoice, ToolDefinition};

/// A request to a model.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The id of the node that asks. Scripted replies and cassettes use it; it is never sent to a
    /// provider.
    pub label: Arc<str>,
    /// The conversation.
    pub messages: Vec<Message>,
    /// The structure of the answer; `None` asks for free text.
    pub output: Option<OutputFormat>,
    /// 0 to 2; the most that a model takes may be 1.
    pub temperature: Option<f64>,
    /// Above 0.
    pub max_tokens: Option<u32>,
    /// Longest time for the whole call, streaming included.
    pub timeout: Duration,
    /// Asks the provider to stream; the reply is the same either way.
    pub stream: bool,
    /// W3C `traceparent` of the call, for the model's server.
    pub trace_parent: Option<String>,
    /// What the model may call; empty offers nothing. With [`output`](Self::output) as well, the
    /// answer's structure is asked for beside the tools, which not every model manages.
    pub tools: Arc<[ToolDefinition]>,
    /// Whether it must call one.
    pub tool_choice: ToolChoice,
    /// Further settings.
    pub sampling: Sampling,
    /// Headers of the caller's own, sent beside the provider's.
    pub extra_headers: ExtraHeaders,
}

/// The structure of the requested answer.
#[derive(Debug, Clone)]
pub struct OutputFormat {
    /// `Output_<node id>`, in characters that every provider takes.
    pub name: Arc<str>,
    /// A description for the model.
    pub description: Option<Arc<str>>,
    /// The JSON Schema of an object.
    pub schema: Arc<Value>,
    /// Which answers the caller can use.
    pub filter: AnswerFilter,
}

/// Decides which structured answers the caller can use; any object by default.
///
/// A model may write several objects, or nest them. The last accepted one is the answer.
#[derive(Clone)]
pub struct AnswerFilter(Arc<dyn Fn(&Value) -> bool + Send + Sync>);

impl AnswerFilter {
    /// Accepts the answers for which `accepts` returns true.
    pub fn new(accepts: impl Fn(&Value) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(accepts))
    }

    pub(crate) fn accepts(&self, answer: &Value) -> bool {
        (self.0)(answer)
    }
}

impl Default for AnswerFilter {
    fn default() -> Self {
        Self::new(Value::is_object)
    }
}

impl fmt::Debug for AnswerFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerFilter")
    }
}

/// A model's answer.
#[derive(Debug, Clone)]
pub struct ChatReply {
    /// The answer: an object if structure was requested and delivered.
    pub content: Content,
    /// The tokens of the call.
    pub usage: Usage,
    /// Why the answer ended.
    pub finish: FinishReason,
    /// The model that answered, as the provider names it.
    pub model: String,
    /// The provider, such as `openai` or `offline`.
    pub provider: String,
    /// Cost in US dollars; `None` if the model has no known price.
    pub cost_usd: Option<f64>,
    /// The tools that the model calls, in its order. Ids are unique in the reply.
    pub calls: Vec<ToolCall>,
    /// What only the provider understands and wants back.
    pub opaque: Vec<OpaquePart>,
}

impl ChatReply {
    /// The reply as a turn of the conversation, to be sent with the results of its calls: what
    /// belongs to no call, the text, and each call behind what belongs to it.
    pub fn turn(&self) -> Message {
        let text = match &self.content {
            Content::Text(text) => text.clone(),
            Content::Json(value) => value.to_string(),
        };
        let add_opaque = |parts: &mut Vec<Part>, call: Option<&str>| {
            let opaque = self.opaque.iter();
            let opaque = opaque.filter(|opaque| opaque.of_call.as_deref() == call);
            parts.extend(opaque.cloned().map(Part::Opaque));
        };
        let mut parts = Vec::new();
        add_opaque(&mut parts, None);
        if !text.is_empty() || self.calls.is_empty() {
            parts.push(Part::Text(text));
        }
        for call in &self.calls {
            add_opaque(&mut parts, Some(&call.id));
            parts.push(Part::ToolCall(call.clone()));
        }
        Message {
            role: Role::Assistant,
            parts: parts.into(),
        }
    }
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text. If structure was requested, the answer could not be read as JSON.
    Text(String),
    /// A structured answer.
    Json(Value),
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Prompt tokens, including cached ones.
    pub input_tokens: u64,
    /// Prompt tokens read from the provider's cache.
    pub cached_tokens: u64,
    /// Answer tokens, including reasoning.
    pub output_tokens: u64,
    /// The provider left out a count, which was estimated from the text.
    #[serde(
        rename = "estimated",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_estimated: bool,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The answer was complete.
    Stop,
    /// It ran into `max_tokens`.
    Length,
    /// Prompt and answer together filled the model's context window.
    ContextWindow,
    /// It called tools, or the one that carries the structured answer.
    ToolCall,
    /// A content filter cut the answer off.
    ContentFilter,
    /// Anything else.
    Other,
}

/// What a call reports while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// A piece of a streamed answer's text. If structure was requested it is JSON text, with the
    /// property names that were sent.
    Text(String),
    /// A sentence on how the request was changed, such as a setting that the model refuses.
    Warning(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_of_a_reply_has_each_opaque_part_before_its_call() {
        let call = |id: &str| ToolCall {
            id: id.to_owned(),
            name: "search".to_owned(),
            arguments: Arguments::read(""),
        };
        let opaque = |of_call: Option<&str>| OpaquePart {
            provider: "google".to_owned(),
            of_call: of_call.map(str::to_owned),
            value: Value::Null,
        };
        let mut reply = ChatReply {
            content: Content::Text(String::new()),
            usage: Usage::default(),
            finish: FinishReason::ToolCall,
            model: "m".to_owned(),
            provider: "google".to_owned(),
            cost_usd: None,
            calls: vec![call("a"), call("b")],
            opaque: vec![opaque(Some("b")), opaque(None)],
        };
        assert_eq!(
            reply.turn().parts.to_vec(),
            [
                Part::Opaque(opaque(None)),
                Part::ToolCall(call("a")),
                Part::Opaque(opaque(Some("b"))),
                Part::ToolCall(call("b")),
            ]
        );
        reply.calls.clear();
        reply.opaque.clear();
        reply.content = Content::Json(serde_json::json!({"n": 1}));
        assert_eq!(reply.turn(), Message::new(Role::Assistant, r#"{"n":1}"#));
    }
}
