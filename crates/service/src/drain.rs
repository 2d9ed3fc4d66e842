//! Shutting down without losing a run.

use std::time::Duration;

use jobs::job::Status;
use jobs::store::{CancelRequested, Error, Filter};

use crate::shared::{Service, Shared};

/// Pause between two looks whether jobs still wait.
const POLL: Duration = Duration::from_millis(50);

/// How long runs that are stopped may take to store that.
const GRACE: Duration = Duration::from_secs(5);

/// Jobs read in one call of the store.
const PAGE: usize = 256;

/// What became of the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Runs that ended by themselves.
    pub finished: usize,
    /// Runs that were handed back to a durable store; they continue elsewhere or later.
    pub handed_back: usize,
    /// Runs that were cancelled because the store does not outlive the process.
    pub cancelled: usize,
}

impl Service {
    /// Refuses new runs, lets those in flight end for as long as `timeout`, and stops the rest. A
    /// client that waits for a run that was stopped is answered with its handle. Where jobs live in
    /// memory, those that wait for a slot count as in flight. Webhooks that are being delivered get
    /// some seconds; the others stay in the store. Afterwards the service does nothing any more.
    pub async fn drain(&self, timeout: Duration) -> Drained {
        let shared = &self.shared;
        let lifecycle = &shared.lifecycle;
        let (ended_before, handed_back_before) = lifecycle.counts();
        lifecycle.begin_drain();
        tokio::select! {
            biased;
            () = shared.all_ended() => {}
            () = shared.host.sleep(timeout) => {}
        }
        let mut drained = Drained {
            finished: lifecycle.counts().0 - ended_before,
            ..Drained::default()
        };
        if shared.store.is_durable() {
            lifecycle.abandon_runs.cancel();
        } else {
            match shared.cancel_all().await {
                Ok(cancelled) => drained.cancelled = cancelled,
                Err(error) => {
                    tracing::warn!(%error, "cannot cancel the remaining runs");
                }
            }
        }
        tokio::select! {
            biased;
            () = lifecycle.tasks.wait() => {}
            () = shared.host.sleep(GRACE) => tracing::warn!("some runs did not stop in time"),
        }
        // In memory, too, no client waits for a run that did not stop.
        lifecycle.abandon_runs.cancel();
        shared.deliveries.stop.cancel();
        shared.deliveries.deliverer.wait().await;
        if shared.store.is_shared() {
            // While what is set aside for the last calls still is.
            tokio::select! {
                () = shared.in_flight.write() => {}
                () = shared.host.sleep(GRACE) => {}
            }
        }
        lifecycle.stopped.cancel();
        lifecycle.workers.wait().await;
        drained.handed_back = lifecycle.counts().1 - handed_back_before;
        drained
    }
}

impl Shared {
    /// Until no run is left here, and no job waits that could only run here.
    async fn all_ended(&self) {
        loop {
            self.lifecycle.tasks.wait().await;
            let waits = !self.store.is_durable()
                && self
                    .store
                    .counts()
                    .await
                    .is_ok_and(|counts| counts.pending > 0);
            if waits {
                self.slots.wake_worker();
                self.host.sleep(POLL).await;
            } else if self.lifecycle.tasks.is_empty() {
                // In this order: a job that left the queue since has its claim or its run among the
                // tasks.
                return;
            }
        }
    }

    /// Cancels every job that has not ended, those that wait first, so that none of them starts.
    async fn cancel_all(&self) -> Result<usize, Error> {
        let mut cancelled = 0;
        for status in [Status::Pending, Status::Waiting, Status::Running] {
            let active = Filter {
                status: Some(status),
                ..Filter::default()
            };
            let mut cursor = None;
            loop {
                let page = self.store.list(&active, cursor, PAGE).await?;
                for job in &page.jobs {
                    match self.cancel(job.id).await? {
                        CancelRequested::Cancelled | CancelRequested::Cancelling => cancelled += 1,
                        CancelRequested::Ended(_) => {}
                    }
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(cancelled)
    }
}
