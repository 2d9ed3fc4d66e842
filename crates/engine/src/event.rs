//! What happens during a run, as data. The JSON form is what `--events`, SSE and stored events carry.

use std::sync::{Arc, Mutex, PoisonError};

use llm::chat::{ChatReply, ChatRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::capture::Capture;
use crate::host::Host;
use crate::outcome::{FailureCode, NodeUsage, Usage};
use crate::trace::TraceParent;
use crate::watch::{Call, Step};

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

/// Is told of every event, in order. Must not block: it is called on the run's own task.
pub trait Observer: Send + Sync {
    /// One event.
    fn observe(&self, event: &RunEvent);

    /// A model is about to be asked. What is returned goes out with the call, as its parent.
    fn call_begins(&self, _call: &Call<'_>) -> Option<TraceParent> {
        None
    }

    /// An attempt at a model ended; not told when it was aborted. Lent, not given: nothing is copied for
    /// an observer that does not look.
    fn call_ended(
        &self,
        _call: &Call<'_>,
        _request: &ChatRequest,
        _result: Result<&ChatReply, &llm::Error>,
    ) {
    }

    /// A step is in the state.
    fn step_ended(&self, _step: &Step<'_>) {}

    /// Whether [`step_ended`](Self::step_ended) does anything.
    fn wants_steps(&self) -> bool {
        false
    }

    /// What of the run may be shown. Told once, before the first event; events are masked already.
    fn begins(&self, _capture: &Arc<Capture>) {}
}

/// Observes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Ignore;

impl Observer for Ignore {
    fn observe(&self, _event: &RunEvent) {}
}

/// Numbers a run's events, dates them and hands them on, one at a time.
pub(crate) struct Emitter<'a> {
    host: &'a dyn Host,
    observer: &'a dyn Observer,
    last: Mutex<u64>,
}

impl<'a> Emitter<'a> {
    /// `last` is the id of the last event of an earlier attempt at the run, or 0.
    pub(crate) fn new(host: &'a dyn Host, observer: &'a dyn Observer, last: u64) -> Self {
        Self {
            host,
            observer,
            last: Mutex::new(last),
        }
    }

    pub(crate) fn emit(&self, kind: EventKind) {
        // Held while the observer is told, so that it sees ids in order whoever emits. An observer
        // that panicked leaves the number as it should be.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let id = if matches!(kind, EventKind::LlmDelta { .. }) {
            0
        } else {
            *last += 1;
            *last
        };
        self.observer.observe(&RunEvent {
            id,
            at: self.host.now(),
            kind,
        });
    }

    /// Id of the last event.
    pub(crate) fn last(&self) -> u64 {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
