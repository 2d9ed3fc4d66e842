//! What all parts of one run share.

use std::sync::Arc;
use std::time::Duration;

use lang::workflow::Workflow;

use crate::budget::Ledger;
use crate::capture::Capture;
use crate::emitter::Emitter;
use crate::environment::Environment;
use crate::host::Host;
use crate::outcome::{Failure, FailureCode};
use crate::progress::CheckpointError;
use crate::quota::Quota;

/// One run in progress, as its steps and nodes see it.
pub(crate) struct Context<'a> {
    pub(crate) workflow: &'a Arc<Workflow>,
    pub(crate) environment: &'a Environment,
    pub(crate) events: Emitter<'a>,
    pub(crate) ledger: Ledger,
    pub(crate) quota: Option<Arc<dyn Quota>>,
    /// The step that an earlier attempt had begun when its process died.
    pub(crate) interrupted_step: Option<u64>,
    /// The host's clock when this attempt began.
    pub(crate) started: Duration,
    /// Run time of earlier attempts.
    pub(crate) earlier_ms: u64,
    /// Counts from `started`.
    pub(crate) deadline: Option<Duration>,
    /// Items of a fan-out in flight at once, at least 1.
    pub(crate) fan_out: usize,
    pub(crate) stream: bool,
    pub(crate) capture: &'a Capture,
}

impl Context<'_> {
    pub(crate) fn host(&self) -> &dyn Host {
        self.environment.host.as_ref()
    }

    /// Time since the host's clock showed `started`.
    pub(crate) fn since(&self, started: Duration) -> Duration {
        self.host().elapsed().saturating_sub(started)
    }

    /// How long the run has taken so far, including earlier attempts.
    pub(crate) fn run_time(&self) -> Duration {
        Duration::from_millis(self.earlier_ms).saturating_add(self.since(self.started))
    }

    /// The id of the last event and the run time so far, for
    /// [`Progress`](crate::progress::Progress).
    pub(crate) fn reached(&self) -> (u64, u64) {
        (self.events.last(), millis(self.run_time()))
    }

    /// Time left until the run's deadline.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_sub(self.since(self.started)))
    }

    /// Returns when the deadline has passed; never without a deadline.
    pub(crate) async fn deadline_passed(&self) -> Failure {
        match self.deadline {
            Some(deadline) if deadline.is_zero() => {}
            Some(deadline) => self.host().sleep(deadline).await,
            None => std::future::pending().await,
        }
        Failure::of_workflow(
            FailureCode::DeadlineExceeded,
            "The run was stopped at its deadline",
        )
    }
}

/// Whole milliseconds, as in events and results.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Why a run stops before its last node has ended.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The run failed.
    Failed(Failure),
    /// The run was cancelled.
    Cancelled,
    /// The progress could not be saved: the run has no end in this process.
    Unsaved(CheckpointError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<CheckpointError> for Stop {
    fn from(error: CheckpointError) -> Self {
        Self::Unsaved(error)
    }
}
