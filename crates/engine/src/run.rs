//! One run from start to end: its lifetime, cancellation, deadline and budget.

use std::sync::Arc;
use std::time::Duration;

use lang::workflow::{Budget, InitialState, Workflow};
use tokio_util::sync::CancellationToken;

use crate::event::Observer;
use crate::host::Host;
use crate::outcome::{Failure, Finished};
use crate::progress::{Checkpoint, CheckpointError, Progress};

/// Steps a run may take before it is stopped as endless.
pub const MAX_STEPS: u64 = 10_000;

/// What a run needs from outside.
pub struct Environment {
    /// Models by spec.
    pub models: Arc<dyn llm::model::Models>,
    /// Clock, ids, randomness.
    pub host: Arc<dyn Host>,
    /// Told of every event.
    pub observer: Arc<dyn Observer>,
    /// Makes progress durable.
    pub checkpoint: Arc<dyn Checkpoint>,
}

/// What one run may do.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time left for the whole run, from now.
    pub deadline: Option<Duration>,
    /// Over the workflow's own, whichever is tighter.
    pub budget: Budget,
    /// Fan-out items in flight at once.
    pub fan_out: usize,
    /// Ask models to stream, so that `llm_delta` events come.
    pub stream: bool,
}

/// Where a run begins.
#[derive(Debug, Clone)]
pub enum Start {
    /// At START, with accepted inputs.
    Fresh(InitialState),
    /// Where an earlier attempt stopped.
    Resume(Box<Progress>),
}

/// Runs to its end. Dropping the future aborts model calls in flight; `cancel` does the same and
/// ends the run as cancelled. An error means the run has no end *here*: its progress could not be saved.
pub async fn run(
    _workflow: &Arc<Workflow>,
    _start: Start,
    _limits: Limits,
    _environment: &Environment,
    _cancel: CancellationToken,
) -> Result<Finished, CheckpointError> {
    todo!("helper `engine`")
}

/// What stands in the way of running this workflow at all: unsupported parts, models that are not set up.
/// Does no I/O; callers use it before they accept a run.
pub fn preflight(_workflow: &Workflow, _models: &dyn llm::model::Models) -> Result<(), Failure> {
    todo!("helper `engine`")
}
