//! Runs in flight, as the accounts of their keys count them.

use std::sync::Arc;

use super::account::Account;
use super::limit::Exceeded;

/// One run in flight, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlightSlot {
    account: Arc<Account>,
    waits: bool,
}

impl InFlightSlot {
    /// For a run that is about to be accepted, and whether it is to wait.
    pub(crate) fn take(account: &Arc<Account>, waits: bool) -> Result<Self, Exceeded> {
        account.let_in(waits)?;
        Ok(Self {
            account: account.clone(),
            waits,
        })
    }

    /// For a run that was accepted before: no limit stands in its way.
    pub(crate) fn retake(account: &Arc<Account>, waits: bool) -> Self {
        account.slot_taken(waits);
        Self {
            account: account.clone(),
            waits,
        }
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Its run does not wait any more.
    pub(crate) fn starts_running(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.account.slot_freed(true);
            self.account.slot_taken(false);
        }
    }

    /// Its run waits again.
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
