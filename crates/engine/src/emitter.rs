//! The way of a run's events to its observer.

use std::sync::{Mutex, PoisonError};

use crate::event::{EventKind, RunEvent};
use crate::host::Host;
use crate::observer::Observer;

/// Numbers a run's events, dates them and hands them on, one at a time.
pub(crate) struct Emitter<'a> {
    host: &'a dyn Host,
    observer: &'a dyn Observer,
    last: Mutex<u64>,
}

impl<'a> Emitter<'a> {
    /// `last` is the id of the last event of an earlier attempt at the run, or 0.
    pub(crate) fn new(host: &'a dyn Host, observer: &'a dyn Observer, last: u64) -> Self {
        Self {
            host,
            observer,
            last: Mutex::new(last),
        }
    }

    pub(crate) fn emit(&self, kind: EventKind) {
        // Held while the observer is told, so that it sees ids in order whoever emits. An observer
        // that panicked leaves the number as it should be.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let id = if matches!(kind, EventKind::LlmDelta { .. }) {
            0
        } else {
            *last += 1;
            *last
        };
        self.observer.observe(&RunEvent {
            id,
            at: self.host.now(),
            kind,
        });
    }

    /// Id of the last event.
    pub(crate) fn last(&self) -> u64 {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
