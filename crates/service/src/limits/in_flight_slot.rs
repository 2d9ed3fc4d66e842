//! A run in flight, as its key's account counts it.

use std::sync::Arc;

use super::Account;

/// Counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    account: Arc<Account>,
    waits: bool,
}

impl Place {
    /// For an account that has counted it.
    pub(super) fn new(account: Arc<Account>, waits: bool) -> Self {
        Self { account, waits }
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// It does not wait any more.
    pub(crate) fn begin(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.account.leave(true);
            self.account.take_place(false);
        }
    }

    /// It waits again.
    pub(crate) fn wait(&mut self) {
        if !std::mem::replace(&mut self.waits, true) {
            self.account.leave(false);
            self.account.take_place(true);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.account.leave(self.waits);
    }
}
