//! Requests, replies, deltas and usage, in no provider's dialect.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use crate::message::{Message, Part, Parts, Role};

/// One question to a model.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// Who asks: the node's id. Scripted replies and cassettes go by it; never sent to a provider.
    pub label: Arc<str>,
    /// The conversation.
    pub messages: Vec<Message>,
    /// The shape of the answer; `None` asks for free text.
    pub output: Option<OutputFormat>,
    /// 0 to 1.
    pub temperature: Option<f64>,
    /// Above 0.
    pub max_tokens: Option<u32>,
    /// Longest time for the whole call, streaming included.
    pub timeout: Duration,
    /// Ask the provider to stream; the reply is the same either way.
    pub stream: bool,
    /// W3C `traceparent` of the call, for whoever serves the model.
    pub trace_parent: Option<String>,
}

/// A structured answer that is wanted.
#[derive(Debug, Clone)]
pub struct OutputFormat {
    /// `Output_<node id>`, restricted to what every provider takes.
    pub name: Arc<str>,
    /// For the model.
    pub description: Option<Arc<str>>,
    /// An object schema.
    pub schema: Arc<Value>,
    /// Which answers the caller can use.
    pub filter: AnswerFilter,
}

/// Which structured answers the caller can use; any object by default.
///
/// A model may write several objects, or put one into another. The reader of its text takes the
/// last that fits.
#[derive(Clone)]
pub struct AnswerFilter(Arc<dyn Fn(&Value) -> bool + Send + Sync>);

impl AnswerFilter {
    /// Those that `accepts` is true of.
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
    /// The answer, as the provider gave it: an object when structure was asked for and delivered.
    pub content: Content,
    /// What it took.
    pub usage: Usage,
    /// Why it ended.
    pub finish: FinishReason,
    /// The model that answered, as the provider names it.
    pub model: String,
    /// The provider, such as `openai` or `offline`.
    pub provider: String,
    /// US dollars; `None` where the model has no known price.
    pub cost_usd: Option<f64>,
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text. When structure was asked for, the answer did not parse as JSON.
    Text(String),
    /// Structure.
    Json(Value),
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Prompt tokens, the cached ones included.
    pub input_tokens: u64,
    /// Prompt tokens read from the provider's cache.
    pub cached_tokens: u64,
    /// Answer tokens, reasoning included.
    pub output_tokens: u64,
    /// The provider left a count out; it was estimated from the text.
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
    /// It was done.
    Stop,
    /// It ran into `max_tokens`.
    Length,
    /// Prompt and answer together filled the model's context window.
    ContextWindow,
    /// It called the tool that carries the structured answer.
    ToolCall,
    /// A filter cut it.
    ContentFilter,
    /// Anything else.
    Other,
}

/// What is told of a call while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// A piece of a streamed answer: its text (JSON text when structure was asked for, under the
    /// property names that were sent).
    Text(String),
    /// The model was not asked as the request says: a setting that it refuses, for instance. A
    /// sentence.
    Warning(String),
}
