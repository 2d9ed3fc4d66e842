//! What signals of other replicas do here. A signal says where to look, and nothing is done on its word
//! alone: a cancel is read from the store, a job that waits is claimed.

use std::sync::Arc;

use jobs::signals::{Heard, Signal};

use crate::shared::Shared;

/// Listens until told to stop.
pub(crate) async fn listen(shared: Arc<Shared>) {
    let mut subscription = shared.signals.subscribe();
    loop {
        tokio::select! {
            biased;
            () = shared.lifecycle.stopped.cancelled() => return,
            heard = subscription.next() => match heard {
                Heard::Signal(signal) => shared.act_on(signal),
                Heard::Rescan => shared.look_everywhere(),
            }
        }
    }
}

impl Shared {
    fn act_on(&self, signal: Signal) {
        match signal {
            Signal::JobsWaiting => self.slots.job_may_wait(),
            Signal::DeliveriesDue => self.deliveries.may_be_due(),
            Signal::Cancel(id) => {
                if self.runs.get(id).is_some() {
                    // The worker reads which runs are to stop.
                    self.slots.wake_worker();
                }
            }
            Signal::Ended(id) | Signal::Events(id) => self.followers.may_have_changed(id),
            Signal::Watch(id) => {
                if let Some(run) = self.runs.get(id) {
                    run.is_watched_elsewhere();
                }
            }
            Signal::Delta(delta) => self.followers.show(&delta),
            Signal::GiveBack(key) => self.in_flight.give_back(&key),
            // For access.
            Signal::KeysChanged => {}
        }
    }

    /// Any signal may have been lost.
    fn look_everywhere(&self) {
        self.slots.job_may_wait();
        self.slots.wake_worker();
        self.deliveries.may_be_due();
        self.followers.all_may_have_changed();
    }
}
