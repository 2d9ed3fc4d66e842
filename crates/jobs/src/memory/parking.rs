//! What the record of a job has that was ever parked or woken.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::parking::{Wait, WakeUp};

/// Until the job ends.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// While it waits.
    pub(super) wait: Option<Wait>,
    pub(super) wake_ups: BTreeMap<Arc<str>, WakeUp>,
    /// A wake-up has come since the job was claimed last.
    pub(super) has_unseen: bool,
}

impl Parking {
    /// Hands all wake-ups to a worker, which ends the wait.
    pub(super) fn hand_out(&mut self) -> Vec<WakeUp> {
        self.wait = None;
        self.has_unseen = false;
        let mut all: Vec<WakeUp> = self.wake_ups.values().cloned().collect();
        // By key where the times are equal.
        all.sort_by_key(|wake_up| wake_up.at);
        all
    }
}
