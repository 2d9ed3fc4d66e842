//! How telemetry watches runs: it makes an observer for each run, which also learns how the run was
//! started and stored. The crate `telemetry` implements these traits; the code that executes runs
//! calls them.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;
use lang::workflow::{CaptureLevel, Workflow};
use llm::chat::{ChatReply, ChatRequest};
use uuid::Uuid;

use crate::capture::Capture;
use crate::event::RunEvent;
use crate::observer::{Call, Observer, Step};
use crate::outcome::Finished;
use crate::trace::TraceParent;

/// Makes the observers of runs.
pub trait Telemetry: Send + Sync + Debug {
    /// An observer for a run that begins or is resumed; `None` if this run is not observed.
    fn begin(&self, run: &RunInfo<'_>) -> Option<Arc<dyn RunObserver>>;

    /// Whether a run's [`Origin`] should be stored with its job.
    fn wants_origin(&self) -> bool;
}

/// A run that is about to begin.
#[derive(Clone, Copy)]
pub struct RunInfo<'a> {
    /// The job's id.
    pub id: Uuid,
    /// The workflow that is run.
    pub workflow: &'a Arc<Workflow>,
    /// Writes the caller's inputs as JSON text. A function, because most observers do not need it.
    pub inputs: &'a (dyn Fn() -> String + Sync),
    /// When the job was accepted.
    pub created_at: Timestamp,
    /// No client is waiting for the result.
    pub is_async: bool,
    /// An earlier attempt at the run stopped before its end.
    pub resumed: bool,
    /// The span of the request that started it.
    pub parent: Option<TraceParent>,
    /// The most content that the server lets telemetry keep.
    pub ceiling: CaptureLevel,
}

/// How a run was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// How long the client waits for the end, in milliseconds; `None` if it does not wait.
    pub waits_ms: Option<u64>,
    /// The span of the request that started it.
    pub parent: Option<TraceParent>,
}

/// Observes one attempt at a run. It is dropped without [`ended`](Self::ended) when the run stops
/// in this process before its end.
pub trait RunObserver: Observer {
    /// The waiting client was answered with a job id instead of the result.
    fn handed_over(&self);

    /// The run ended, and its end is stored.
    fn ended(&self, finished: &Finished);

    /// The run had begun while its job was being stored, and the store refused the job: it does not
    /// count.
    fn dismissed(&self);
}

/// Two observers as one. The first is called first.
pub struct ObserverPair {
    first: Arc<dyn Observer>,
    second: Arc<dyn RunObserver>,
}

impl ObserverPair {
    /// `first` is the owner of the run, `second` its telemetry.
    pub fn new(first: Arc<dyn Observer>, second: Arc<dyn RunObserver>) -> Self {
        Self { first, second }
    }
}

impl Observer for ObserverPair {
    fn begins(&self, capture: &Arc<Capture>) {
        self.first.begins(capture);
        self.second.begins(capture);
    }

    fn observe(&self, event: &RunEvent) {
        self.first.observe(event);
        self.second.observe(event);
    }

    fn call_begins(&self, call: &Call<'_>) -> Option<TraceParent> {
        self.second.call_begins(call)
    }

    fn call_ended(
        &self,
        call: &Call<'_>,
        request: &ChatRequest,
        result: Result<&ChatReply, &llm::Error>,
    ) {
        self.second.call_ended(call, request, result);
    }

    fn step_ended(&self, step: &Step<'_>) {
        self.second.step_ended(step);
    }

    fn wants_steps(&self) -> bool {
        self.second.wants_steps()
    }
}
