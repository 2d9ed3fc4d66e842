//! An event as JSON, written at once or when somebody asks for it.

use engine::event::EventKind;
use jiff::Timestamp;
use jobs::json::{Json, Payload, write};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::events::FinalEvent;

/// `{"id", "at", "event", …}`, as [`RunEvent`](engine::event::RunEvent) reads it.
#[derive(Debug, Serialize)]
pub(crate) struct Numbered<K> {
    pub(crate) id: u64,
    pub(crate) at: Timestamp,
    #[serde(flatten)]
    pub(crate) kind: K,
}

impl<K: Serialize> Numbered<K> {
    pub(crate) fn written(&self) -> Json {
        Json::of(self)
    }
}

impl<K: Kind> Numbered<K> {
    pub(crate) fn written_later(self) -> Json {
        Json::later(self)
    }
}

impl<K: Kind> Payload for Numbered<K> {
    fn write(&self) -> Box<RawValue> {
        write(self)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.kind.bytes_beside()
    }
}

/// What happened.
pub(crate) trait Kind: Serialize + Send + Sync + 'static {
    /// What it has on the heap for itself, roughly.
    fn bytes_beside(&self) -> usize;
}

impl Kind for EventKind {
    fn bytes_beside(&self) -> usize {
        match self {
            Self::NodeCompleted { outputs, .. } => size_of::<Value>() + beside(outputs),
            Self::LlmDelta { text, .. } => text.len(),
            Self::NodeRetried { reason, .. } => reason.len(),
            Self::NodeFailed { error, .. } => error.len(),
            Self::GateFailed { metric, message } => metric.len() + message.len(),
            // The ends are never kept: they are made of the job's ending.
            Self::RunStarted { .. }
            | Self::NodeStarted { .. }
            | Self::RunCompleted { .. }
            | Self::RunFailed { .. }
            | Self::RunCancelled { .. } => 0,
        }
    }
}

impl Kind for FinalEvent {
    /// The job has it all, and counts it.
    fn bytes_beside(&self) -> usize {
        0
    }
}

/// What a member of an object takes: its key, its hash, its place in the index.
const MEMBER: usize = size_of::<(String, Value)>() + 24;

fn beside(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items
            .iter()
            .map(|item| size_of::<Value>() + beside(item))
            .sum(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| MEMBER + key.len() + beside(value))
            .sum(),
    }
}
