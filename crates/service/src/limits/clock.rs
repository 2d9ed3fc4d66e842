//! The clock that says which day it is for limits. Where other processes share the store, it is the
//! store's: their own clocks differ.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::host::Host;
use jiff::Timestamp;
use jobs::spend::Day;
use jobs::store::later;

#[derive(Debug)]
pub(super) struct LimitClock {
    host: Arc<dyn Host>,
    /// Where the store is shared: what it said, and when it was asked on the monotonic clock.
    store: Option<Mutex<(Timestamp, Duration)>>,
}

impl LimitClock {
    pub(super) fn of_host(host: Arc<dyn Host>) -> Self {
        Self { host, store: None }
    }

    /// With the store's time, as an answer to a question asked at that time of the monotonic clock.
    pub(super) fn of_store(host: Arc<dyn Host>, now: Timestamp, asked_at: Duration) -> Self {
        Self {
            host,
            store: Some(Mutex::new((now, asked_at))),
        }
    }

    pub(super) fn is_of_store(&self) -> bool {
        self.store.is_some()
    }

    /// As [`of_store`](Self::of_store), of a later answer.
    pub(super) fn learn(&self, now: Timestamp, asked_at: Duration) {
        if let Some(store) = &self.store {
            *store.lock().unwrap_or_else(PoisonError::into_inner) = (now, asked_at);
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        let Some(store) = &self.store else {
            return self.host.now();
        };
        let (at, asked_at) = *store.lock().unwrap_or_else(PoisonError::into_inner);
        later(at, self.host.elapsed().saturating_sub(asked_at))
    }

    pub(super) fn day(&self) -> Day {
        Day::of(self.now())
    }
}
