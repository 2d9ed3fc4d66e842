//! A line of a cassette: one question and its answer or error. Cassettes of every version are read
//! with these types, so they must still read what was written before.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::chat::{
    ChatReply, ChatRequest, Content, FinishReason, Message, OpaquePart, Part, Parts, Role,
    ToolCall, Usage,
};
use crate::error::ErrorKind;

/// A question and its answer or error.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exchange {
    pub(super) label: String,
    provider: String,
    model: String,
    pub(super) request: RecordedRequest,
    #[serde(flatten)]
    outcome: Outcome,
}

/// The request. Playback uses only the messages; the rest is for readers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RecordedRequest {
    pub(super) messages: Vec<RecordedMessage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
}

/// A turn. A single text is written as `text`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RecordedMessage {
    role: Role,
    #[serde(flatten)]
    content: RecordedParts,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedParts {
    Text(String),
    Parts(Parts),
}

impl RecordedMessage {
    fn of(message: &Message) -> Self {
        Self {
            role: message.role,
            content: match &*message.parts {
                [Part::Text(text)] => RecordedParts::Text(text.clone()),
                _ => RecordedParts::Parts(message.parts.clone()),
            },
        }
    }

    pub(super) fn message(&self) -> Message {
        let parts = match &self.content {
            RecordedParts::Text(text) => Part::Text(text.clone()).into(),
            RecordedParts::Parts(parts) => parts.clone(),
        };
        Message {
            role: self.role,
            parts,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Reply(RecordedReply),
    Error(RecordedError),
}

#[derive(Debug, Serialize, Deserialize)]
struct RecordedReply {
    #[serde(flatten)]
    content: RecordedContent,
    finish: FinishReason,
    usage: Usage,
    cost_usd: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    calls: Vec<ToolCall>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    opaque: Vec<OpaquePart>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedContent {
    Text(String),
    Json(Value),
}

/// A failure, without the time that the provider asked to wait: a replay need not wait.
#[derive(Debug, Serialize, Deserialize)]
struct RecordedError {
    kind: ErrorKind,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

impl Exchange {
    pub(super) fn new(
        request: &ChatRequest,
        name: &str,
        result: &Result<ChatReply, Error>,
    ) -> Self {
        let (named_provider, named_model) = name.split_once('/').unwrap_or((name, ""));
        let (provider, model, outcome) = match result {
            Ok(reply) => {
                let content = match &reply.content {
                    Content::Text(text) => RecordedContent::Text(text.clone()),
                    Content::Json(value) => RecordedContent::Json(value.clone()),
                };
                let answered = RecordedReply {
                    content,
                    finish: reply.finish,
                    usage: reply.usage,
                    cost_usd: reply.cost_usd,
                    calls: reply.calls.clone(),
                    opaque: reply.opaque.clone(),
                };
                (
                    reply.provider.as_str(),
                    reply.model.as_str(),
                    Outcome::Reply(answered),
                )
            }
            Err(error) => {
                let failed = RecordedError {
                    kind: error.kind,
                    message: error.message.clone(),
                    status: error.status,
                };
                (named_provider, named_model, Outcome::Error(failed))
            }
        };
        Self {
            label: request.label.to_string(),
            provider: provider.to_owned(),
            model: model.to_owned(),
            request: RecordedRequest {
                messages: request.messages.iter().map(RecordedMessage::of).collect(),
                schema: request
                    .output
                    .as_ref()
                    .map(|output| (*output.schema).clone()),
                temperature: request.temperature,
                max_tokens: request.max_tokens,
            },
            outcome,
        }
    }

    pub(super) fn play(&self) -> Result<ChatReply, Error> {
        match &self.outcome {
            Outcome::Reply(answered) => Ok(ChatReply {
                content: match &answered.content {
                    RecordedContent::Text(text) => Content::Text(text.clone()),
                    RecordedContent::Json(value) => Content::Json(value.clone()),
                },
                usage: answered.usage,
                finish: answered.finish,
                model: self.model.clone(),
                provider: self.provider.clone(),
                cost_usd: answered.cost_usd,
                calls: answered.calls.clone(),
                opaque: answered.opaque.clone(),
            }),
            Outcome::Error(failed) => Err(Error {
                status: failed.status,
                ..Error::new(failed.kind, failed.message.clone())
            }),
        }
    }
}
