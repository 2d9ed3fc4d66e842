//! A run in flight, as its key's account counts it.

use std::sync::Arc;

use super::Account;

/// Counted until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlightSlot {
    account: Arc<Account>,
    waits: bool,
}

impl InFlightSlot {
    /// For an account that has counted it.
    pub(super) fn new(account: Arc<Account>, waits: bool) -> Self {
        Self { account, waits }
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// It does not wait any more.
    pub(crate) fn starts_running(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.account.slot_freed(true);
            self.account.slot_taken(false);
        }
    }

    /// It waits again.
    pub(crate) fn waits_again(&mut self) {
        if !std::mem::replace(&mut self.waits, true) {
            self.account.slot_freed(false);
            self.account.slot_taken(true);
        }
    }
}

impl Drop for InFlightSlot {
    fn drop(&mut self) {
        self.account.slot_freed(self.waits);
    }
}
