//! The events of a run, as data. Their JSON form is what `--events`, SSE and the store carry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::outcome::{FailureCode, NodeUsage, Usage};

/// One event of one run. Cheap to clone: large parts are shared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunEvent {
    /// Counts from 1 within the run, also across a resumption. A delta has 0, and no id in JSON: it
    /// is not stored, so no stream can be resumed after it.
    #[serde(default, skip_serializing_if = "is_unnumbered")]
    pub id: u64,
    /// RFC 3339 UTC with `Z`.
    pub at: jiff::Timestamp,
    /// The kind of event with its fields.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Whether an event has no id. Takes a reference for `skip_serializing_if`.
pub fn is_unnumbered(id: &u64) -> bool {
    *id == 0
}

/// The kinds of events: the key `event` in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "fields are documented in docs/http-api.md, Events"
)]
pub enum EventKind {
    RunStarted {
        workflow: Arc<str>,
        resumed: bool,
    },
    NodeStarted {
        node: Arc<str>,
        iteration: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<usize>,
    },
    /// A piece of an answer as it arrives. Not stored.
    LlmDelta {
        node: Arc<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<usize>,
        text: String,
    },
    /// A model call brought no usable answer, and another call follows.
    NodeRetried {
        node: Arc<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<usize>,
        attempt: u32,
        reason: String,
        wait_ms: u64,
    },
    /// The model was not asked exactly as the workflow says.
    NodeWarning {
        node: Arc<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<usize>,
        message: String,
    },
    NodeCompleted {
        node: Arc<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<usize>,
        /// Sensitive values masked.
        outputs: Arc<Value>,
        /// The outputs without masking, where that differs: a resumed run needs them. Only
        /// [`SealedEvent`] writes them.
        #[serde(default, skip_serializing)]
        sealed: Option<Arc<Value>>,
        usage: NodeUsage,
        duration_ms: u64,
        elapsed_ms: u64,
    },
    NodeFailed {
        node: Arc<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<usize>,
        code: FailureCode,
        error: String,
        #[serde(default)]
        duration_ms: u64,
    },
    GateFailed {
        metric: String,
        message: String,
    },
    RunCompleted {
        outputs: Arc<Map<String, Value>>,
        usage: Arc<Usage>,
        execution_time_ms: u64,
    },
    RunFailed {
        error: String,
        problem: Value,
        usage: Arc<Usage>,
        execution_time_ms: u64,
    },
    RunCancelled {
        execution_time_ms: u64,
    },
}

/// An event in the form that is stored: with the `sealed` outputs that a resumed run needs. The key
/// [`SEALED`] must be removed before a stored event is shown to anybody.
#[derive(Debug, Serialize)]
pub struct SealedEvent<'a> {
    #[serde(flatten)]
    kind: &'a EventKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<&'a Value>,
}

/// The key of [`SealedEvent`] that must not be shown.
pub const SEALED: &str = "sealed";

impl<'a> SealedEvent<'a> {
    /// The stored form of an event.
    pub fn of(kind: &'a EventKind) -> Self {
        let sealed = match kind {
            EventKind::NodeCompleted { sealed, .. } => sealed.as_deref(),
            _ => None,
        };
        Self { kind, sealed }
    }
}
