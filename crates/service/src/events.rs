//! Events, as the watchers of a job see them.
//!
//! Ids belong to stored events alone. A delta has none (its JSON repeats the id of the event before
//! it), so that a client that resumes from the last id it has seen is always at a stored position;
//! a delta is shown to those who watch when it comes, and never again.

use std::borrow::Cow;
use std::sync::Arc;

use engine::event::{EventKind, SEALED};
use jobs::job::{End, Ending};
use jobs::json::Json;
use jobs::signals::Delta;
use jobs::store::StoredEvent;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// The kind of the event that ends a stream because the server shuts down.
pub(crate) const SERVER_STOPPING: &str = "server_stopping";

/// An event as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The position to resume from; `None` for a delta.
    pub id: Option<u64>,
    /// The kind: `run_started`, …
    pub kind: Cow<'static, str>,
    /// The whole event: `{"id", "at", "event", …}`.
    pub data: Json,
}

impl Event {
    /// Whether no event follows it.
    pub fn is_final(&self) -> bool {
        is_final(&self.kind)
    }

    /// Whether it ends the stream of a job that continues: the server shuts down, and the client
    /// should reconnect with the id of the last event.
    pub fn is_server_stopping(&self) -> bool {
        self.kind == SERVER_STOPPING
    }
}

impl From<Delta> for Event {
    fn from(delta: Delta) -> Self {
        Self {
            id: None,
            kind: Cow::Borrowed("llm_delta"),
            data: delta.data,
        }
    }
}

impl From<StoredEvent> for Event {
    fn from(event: StoredEvent) -> Self {
        Self {
            id: Some(event.id),
            data: without_sealed(&event.kind, event.data),
            kind: event.kind,
        }
    }
}

/// The last event of a job, made from its ending, with which it shares what may be large.
#[derive(Debug, Serialize)]
#[serde(tag = "event")]
pub(crate) enum FinalEvent {
    #[serde(rename = "run_completed")]
    Completed {
        outputs: Option<Json>,
        usage: Option<Json>,
        execution_time_ms: u64,
    },
    #[serde(rename = "run_failed")]
    Failed {
        error: Option<Arc<str>>,
        problem: Option<Json>,
        usage: Option<Json>,
        execution_time_ms: u64,
    },
    #[serde(rename = "run_cancelled")]
    Cancelled { execution_time_ms: u64 },
}

/// Without what was stored for resuming only and must not be shown.
fn without_sealed(kind: &str, data: Json) -> Json {
    #[derive(Deserialize, Serialize)]
    struct Shown {
        #[serde(skip_serializing)]
        sealed: Option<IgnoredAny>,
        #[serde(flatten)]
        rest: serde_json::Map<String, serde_json::Value>,
    }

    // Most events hold no such key; those that may are few enough to be read.
    if kind != "node_completed" || !data.text().contains(SEALED) {
        return data;
    }
    match data.read::<Shown>() {
        Ok(Shown {
            sealed: Some(_),
            rest,
        }) => Json::of(&rest),
        Ok(_) => data,
        // Never, and if ever, then not in the open.
        Err(_) => Json::of(&()),
    }
}

impl FinalEvent {
    /// `masked_outputs` replace the job's own where some of them are sensitive.
    pub(crate) fn of(ending: &Ending, masked_outputs: Option<Json>) -> Self {
        let Ending {
            execution_time_ms, ..
        } = *ending;
        match ending.end {
            End::Completed => Self::Completed {
                outputs: masked_outputs.or_else(|| ending.outputs.clone()),
                usage: ending.usage.clone(),
                execution_time_ms,
            },
            End::Failed => Self::Failed {
                error: ending.error.clone(),
                problem: ending.problem.clone(),
                usage: ending.usage.clone(),
                execution_time_ms,
            },
            End::Cancelled => Self::Cancelled { execution_time_ms },
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "run_completed",
            Self::Failed { .. } => "run_failed",
            Self::Cancelled { .. } => "run_cancelled",
        }
    }
}

/// Whether no event follows one of that kind.
pub(crate) fn is_final(kind: &str) -> bool {
    matches!(kind, "run_completed" | "run_failed" | "run_cancelled")
}

/// `event` of a run's event as it stands in JSON.
pub(crate) fn name_of(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::RunStarted { .. } => "run_started",
        EventKind::NodeStarted { .. } => "node_started",
        EventKind::LlmDelta { .. } => "llm_delta",
        EventKind::NodeRetried { .. } => "node_retried",
        EventKind::NodeWarning { .. } => "node_warning",
        EventKind::NodeCompleted { .. } => "node_completed",
        EventKind::NodeFailed { .. } => "node_failed",
        EventKind::GateFailed { .. } => "gate_failed",
        EventKind::RunCompleted { .. } => "run_completed",
        EventKind::RunFailed { .. } => "run_failed",
        EventKind::RunCancelled { .. } => "run_cancelled",
    }
}
