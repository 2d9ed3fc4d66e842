//! The slots of runs: how many run at once, and whether jobs wait for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The right to run; it ends when this is dropped.
pub(crate) type RunSlot = OwnedSemaphorePermit;

#[derive(Debug)]
pub(crate) struct RunSlots {
    permits: Arc<Semaphore>,
    /// Jobs may be waiting in the store: new ones must not overtake them.
    has_backlog: AtomicBool,
    /// Wakes the worker: a job waits, or a slot is free for one that does.
    wake: Notify,
}

impl RunSlots {
    pub(crate) fn new(max_running: usize, has_backlog: bool) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max_running.min(Semaphore::MAX_PERMITS))),
            has_backlog: AtomicBool::new(has_backlog),
            wake: Notify::new(),
        }
    }

    /// For a job that is new: none while others wait.
    pub(crate) fn take_for_new(&self) -> Option<RunSlot> {
        if self.has_backlog.load(Ordering::SeqCst) {
            return None;
        }
        self.permits.clone().try_acquire_owned().ok()
    }

    /// For jobs that wait in the store, which are about to be claimed: as many as are free, up to
    /// `most`.
    pub(crate) fn take_for_waiting(&self, most: usize) -> Vec<RunSlot> {
        let slots: Vec<RunSlot> =
            std::iter::from_fn(|| self.permits.clone().try_acquire_owned().ok())
                .take(most)
                .collect();
        if !slots.is_empty() {
            // Before the claim: what is submitted during it raises this again.
            self.has_backlog.store(false, Ordering::SeqCst);
        }
        slots
    }

    /// Jobs may have been left waiting.
    pub(crate) fn leaves_backlog(&self) {
        self.has_backlog.store(true, Ordering::SeqCst);
    }

    /// A job waits in the store.
    pub(crate) fn job_waits(&self) {
        self.leaves_backlog();
        self.wake_worker();
    }

    /// Gives a slot back, to a job that waits if there is one.
    pub(crate) fn give_back(&self, slot: Option<RunSlot>) {
        drop(slot);
        if self.has_backlog.load(Ordering::SeqCst) {
            self.wake_worker();
        }
    }

    pub(crate) fn wake_worker(&self) {
        self.wake.notify_one();
    }

    /// Waits until the worker is woken.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_new_job_does_not_overtake_those_that_wait() {
        let slots = RunSlots::new(2, false);
        let first = slots.take_for_new();
        assert!(first.is_some());
        slots.job_waits();
        assert!(slots.woken().now_or_never().is_some());
        assert!(
            slots.take_for_new().is_none(),
            "a slot is free, but a job waits"
        );
        let for_waiting = slots.take_for_waiting(9);
        assert_eq!(for_waiting.len(), 1, "all that are free");
        drop(for_waiting);
        assert!(slots.take_for_new().is_some(), "no job waits any more");
    }

    #[test]
    fn a_slot_that_is_given_back_wakes_the_worker_where_a_job_waits() {
        let slots = RunSlots::new(1, false);
        let slot = slots.take_for_new();
        slots.give_back(slot);
        assert!(slots.woken().now_or_never().is_none());
        slots.leaves_backlog();
        slots.give_back(None);
        assert!(slots.woken().now_or_never().is_some());
    }

    #[test]
    fn no_slot_leaves_the_backlog_as_it_is() {
        let slots = RunSlots::new(1, false);
        let slot = slots.take_for_new();
        slots.job_waits();
        assert!(slots.take_for_waiting(9).is_empty());
        slots.give_back(slot);
        assert!(slots.take_for_new().is_none());
    }
}
