//! What happens during a run, as data. The JSON form is what `--events`, SSE and stored events carry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::outcome::{FailureCode, NodeUsage, Usage};

/// One event of one run. Cheap to clone: what may be large is shared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunEvent {
    /// From 1, rising by 1 within the run (also across a resumption). 0, and absent from JSON, for a
    /// delta: it is not stored, so nothing can continue after it.
    #[serde(default, skip_serializing_if = "is_unnumbered")]
    pub id: u64,
    /// RFC 3339 UTC with `Z`.
    pub at: jiff::Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Whether an event has no id; serde wants a reference.
pub fn is_unnumbered(id: &u64) -> bool {
    *id == 0
}

/// Kinds of events; `event` in JSON.
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
    /// An attempt at a model ended without a usable answer and another follows.
    NodeRetried {
        node: Arc<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<usize>,
        attempt: u32,
        reason: String,
        wait_ms: u64,
    },
    /// The node's model was not asked as the workflow says.
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
        /// The outputs as they are, where that is something else: for whoever stores the event, so that the
        /// run can go on from it. Written by [`Kept`] alone.
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

/// An event in the form that is stored: beside what anybody is shown, the `sealed` outputs that a run
/// needs to go on. Whoever shows a stored event takes that key off ([`SEALED`]).
#[derive(Debug, Serialize)]
pub struct Kept<'a> {
    #[serde(flatten)]
    kind: &'a EventKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<&'a Value>,
}

/// The key of [`Kept`] that nobody is shown.
pub const SEALED: &str = "sealed";

impl<'a> Kept<'a> {
    /// The form in which the event is stored.
    pub fn of(kind: &'a EventKind) -> Self {
        let sealed = match kind {
            EventKind::NodeCompleted { sealed, .. } => sealed.as_deref(),
            _ => None,
        };
        Self { kind, sealed }
    }
}
