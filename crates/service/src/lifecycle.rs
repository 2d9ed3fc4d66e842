//! From a service's start to its end: what it still takes on, the tasks that an end waits for, and
//! the tokens that stop them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    is_stopping: AtomicBool,
    is_draining: AtomicBool,
    /// Runs, and submissions that may still become runs.
    pub(crate) tasks: TaskTracker,
    /// All runs are to stop here without an end, also those that are about to begin.
    pub(crate) abandon_runs: CancellationToken,
    /// The worker and the expiry.
    pub(crate) workers: TaskTracker,
    /// Nothing is to be done any more.
    pub(crate) stopped: CancellationToken,
    /// What an earlier process left in the store is ours by now.
    pub(crate) taken_over: SetOnce<()>,
    /// Runs that ended here.
    ended: AtomicUsize,
    /// Runs that were given back to the store.
    handed_back: AtomicUsize,
}

impl Lifecycle {
    /// It is to get no requests any more.
    pub(crate) fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// It takes no new runs any more.
    pub(crate) fn begin_drain(&self) {
        self.begin_stop();
        self.is_draining.store(true, Ordering::SeqCst);
        self.tasks.close();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    /// Has a drain wait for a submission; `None` where one has begun before.
    pub(crate) fn begin_submission(&self) -> Option<TaskTrackerToken> {
        // In this order: a drain that begins now waits for this submission.
        let submission = self.tasks.token();
        (!self.is_draining()).then_some(submission)
    }

    pub(crate) fn run_ended(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn run_handed_back(&self) {
        self.handed_back.fetch_add(1, Ordering::SeqCst);
    }

    /// How many runs have ended here, and how many were given back to the store.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (
            self.ended.load(Ordering::SeqCst),
            self.handed_back.load(Ordering::SeqCst),
        )
    }
}
