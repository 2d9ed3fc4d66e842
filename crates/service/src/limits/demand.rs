//! Which keys want something of the store before the next look at all of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Demand {
    keys: Mutex<BTreeSet<Arc<str>>>,
    asked: Notify,
}

impl Demand {
    /// A key wants something.
    pub(super) fn ask(&self, key: &Arc<str>) {
        self.ask_later(key);
        self.asked.notify_one();
    }

    /// A key wants something when somebody else does, or its time has come.
    pub(super) fn ask_later(&self, key: &Arc<str>) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone());
    }

    /// Waits until one does.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// All that do.
    pub(super) fn take(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
