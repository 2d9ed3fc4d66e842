//! Who is told what happens during a run: its events, its model calls, its steps.

use std::sync::Arc;
use std::time::Duration;

use llm::chat::{ChatReply, ChatRequest};
use serde_json::Value;

use crate::capture::Capture;
use crate::event::RunEvent;
use crate::trace::TraceParent;

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

/// Which attempt at which model.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The node that asks.
    pub node: &'a Arc<str>,
    /// Index of the item, in a fan-out.
    pub item: Option<usize>,
    /// From 1.
    pub attempt: u32,
    /// `provider/model`.
    pub model: &'a str,
    /// When it began, by the host's monotonic clock.
    pub began: Duration,
}

/// A step whose outputs are in the state.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// From 1.
    pub number: u64,
    /// The nodes that ran in it.
    pub nodes: &'a [&'a str],
    /// One value per field of the workflow.
    pub state: &'a [Value],
}
