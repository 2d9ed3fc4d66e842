//! How telemetry watches runs: who makes an observer for each run, and what that observer is told beside
//! the run's events. Implemented by the crate `telemetry`; used by whoever executes runs.

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

/// Watches every run.
pub trait Telemetry: Send + Sync + Debug {
    /// An observer for a run that begins or goes on. `None`: nobody looks at this one.
    fn begin(&self, run: &RunInfo<'_>) -> Option<Arc<dyn RunObserver>>;

    /// Whether a run's [`Origin`] is worth keeping with its job.
    fn wants_origin(&self) -> bool;
}

/// What is known of a run before it begins.
#[derive(Clone, Copy)]
pub struct RunInfo<'a> {
    /// The job's.
    pub id: Uuid,
    /// What is executed.
    pub workflow: &'a Arc<Workflow>,
    /// Writes the caller's inputs as JSON text, for those who look.
    pub inputs: &'a (dyn Fn() -> String + Sync),
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Nobody waits for it any more, or ever did.
    pub is_async: bool,
    /// An earlier attempt at it stopped somewhere.
    pub resumed: bool,
    /// The span that asked for it.
    pub parent: Option<TraceParent>,
    /// As much as the server lets telemetry keep.
    pub ceiling: CaptureLevel,
}

/// Where a run came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// How long whoever asked for it waits for its end, in milliseconds; `None`: not at all.
    pub waits_ms: Option<u64>,
    /// The span that asked for it.
    pub parent: Option<TraceParent>,
}

/// Watches one attempt at a run. Dropped without [`ended`](Self::ended) when the run stops here without an end.
pub trait RunObserver: Observer {
    /// Whoever waited for it was given a handle instead.
    fn handed_over(&self);

    /// It ended, and that is stored.
    fn ended(&self, finished: &Finished);

    /// It never came to be: it had begun while its job was being stored, and the store refused the job.
    fn dismissed(&self);
}

/// Two observers as one: the first is told first.
pub struct Both {
    first: Arc<dyn Observer>,
    second: Arc<dyn RunObserver>,
}

impl Both {
    /// The first is whoever the run belongs to, the second its telemetry.
    pub fn new(first: Arc<dyn Observer>, second: Arc<dyn RunObserver>) -> Self {
        Self { first, second }
    }
}

impl Observer for Both {
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
