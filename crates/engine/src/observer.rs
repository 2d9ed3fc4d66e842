//! What an observer is told of a run: its events, model calls and steps.

use std::sync::Arc;
use std::time::Duration;

use llm::chat::{ChatReply, ChatRequest};
use serde_json::Value;

use crate::capture::Capture;
use crate::event::RunEvent;
use crate::trace::TraceParent;

/// Receives every event of one run, in order. Must not block: it is called on the run's own task.
pub trait Observer: Send + Sync {
    /// Receives one event. Sensitive values in it are masked.
    fn observe(&self, event: &RunEvent);

    /// A model is about to be asked. The returned span is sent with the request as its parent.
    fn call_begins(&self, _call: &Call<'_>) -> Option<TraceParent> {
        None
    }

    /// A model call ended. Not called for a call that was aborted. Request and reply are not
    /// masked: an observer keeps of them only what its [`Capture`] returns.
    fn call_ended(
        &self,
        _call: &Call<'_>,
        _request: &ChatRequest,
        _result: Result<&ChatReply, &llm::Error>,
    ) {
    }

    /// A step ended, and its outputs are in the state.
    fn step_ended(&self, _step: &Step<'_>) {}

    /// Whether [`step_ended`](Self::step_ended) does anything: if not, nothing is prepared for it.
    fn wants_steps(&self) -> bool {
        false
    }

    /// The run begins. Called once, before the first event, with what may be shown of the run.
    fn begins(&self, _capture: &Arc<Capture>) {}
}

/// An observer that ignores everything.
#[derive(Debug, Clone, Copy)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&self, _event: &RunEvent) {}
}

/// One call of a model.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The node that asks.
    pub node: &'a Arc<str>,
    /// Index of the item, in a fan-out.
    pub item: Option<usize>,
    /// Attempts at this answer so far, this one included.
    pub attempt: u32,
    /// `provider/model`.
    pub model: &'a str,
    /// When the call began, by the host's monotonic clock.
    pub began: Duration,
}

/// A step that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The first step is 1.
    pub number: u64,
    /// The nodes that ran in it.
    pub nodes: &'a [&'a str],
    /// The state after it: one value per field of the workflow. Not masked.
    pub state: &'a [Value],
}
