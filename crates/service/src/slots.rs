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
    /// Jobs of other replicas may be waiting in the store. New ones may overtake those.
    is_wanted: AtomicBool,
    /// Wakes the worker: a job waits, or a slot is free for one that does.
    wake: Notify,
    /// Wakes the worker: a job of another replica may wait.
    hint: Notify,
}

impl RunSlots {
    pub(crate) fn new(max_running: usize, has_backlog: bool) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max_running.min(Semaphore::MAX_PERMITS))),
            has_backlog: AtomicBool::new(has_backlog),
            is_wanted: AtomicBool::new(false),
            wake: Notify::new(),
            hint: Notify::new(),
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
            self.is_wanted.store(false, Ordering::SeqCst);
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

    /// Whether another run could begin.
    pub(crate) fn has_free(&self) -> bool {
        self.permits.available_permits() > 0
    }

    /// A job of another replica may wait in the store.
    pub(crate) fn job_may_wait(&self) {
        self.is_wanted.store(true, Ordering::SeqCst);
        if self.has_free() {
            self.hint.notify_one();
        }
    }

    /// Gives a slot back, to a job that waits if there is one.
    pub(crate) fn give_back(&self, slot: Option<RunSlot>) {
        drop(slot);
        if self.has_backlog.load(Ordering::SeqCst) {
            self.wake_worker();
        } else if self.is_wanted.load(Ordering::SeqCst) {
            self.hint.notify_one();
        }
    }

    pub(crate) fn wake_worker(&self) {
        self.wake.notify_one();
    }

    /// Waits until the worker is woken.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until a job of another replica may wait, and a slot is free for it.
    pub(crate) async fn hinted(&self) {
        self.hint.notified().await;
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
    fn a_job_of_another_replica_is_looked_for_once_a_slot_is_free_and_holds_up_no_new_one() {
        let slots = RunSlots::new(1, false);
        let slot = slots.take_for_new();
        slots.job_may_wait();
        assert!(slots.hinted().now_or_never().is_none(), "no slot is free");
        slots.give_back(slot);
        assert!(slots.hinted().now_or_never().is_some());
        let slot = slots.take_for_new();
        assert!(slot.is_some());
        slots.give_back(slot);
        assert!(slots.hinted().now_or_never().is_some());
        drop(slots.take_for_waiting(1));
        slots.give_back(None);
        assert!(slots.hinted().now_or_never().is_none(), "it was looked for");
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
