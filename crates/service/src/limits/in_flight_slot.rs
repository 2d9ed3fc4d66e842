//! Runs in flight, as the accounts of their keys count them.

use std::sync::Arc;

use super::account::Account;
use super::limit::Exceeded;

/// One run in flight, counted until this is dropped. Where the store counts the jobs of each key,
/// nothing is counted here.
#[derive(Debug)]
pub(crate) struct InFlightSlot {
    account: Arc<Account>,
    is_counted: bool,
    waits: bool,
}

impl InFlightSlot {
    /// For a run that is about to be accepted, and whether it is to wait.
    pub(crate) fn take(account: &Arc<Account>, waits: bool) -> Result<Self, Exceeded> {
        account.let_in(waits)?;
        Ok(Self {
            account: account.clone(),
            is_counted: true,
            waits,
        })
    }

    /// For a run that is about to be accepted, where the store counts the jobs of each key.
    pub(crate) fn uncounted(account: &Arc<Account>) -> Result<Self, Exceeded> {
        account.check_day()?;
        Ok(Self::of_stored(account))
    }

    /// For a run that was accepted before, where the store counts the jobs of each key.
    pub(crate) fn of_stored(account: &Arc<Account>) -> Self {
        Self {
            account: account.clone(),
            is_counted: false,
            waits: false,
        }
    }

    /// For a run that was accepted before: no limit stands in its way.
    pub(crate) fn retake(account: &Arc<Account>, waits: bool) -> Self {
        account.slot_taken(waits);
        Self {
            account: account.clone(),
            is_counted: true,
            waits,
        }
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Its run does not wait any more.
    pub(crate) fn starts_running(&mut self) {
        if self.is_counted && std::mem::take(&mut self.waits) {
            self.account.slot_freed(true);
            self.account.slot_taken(false);
        }
    }

    /// Its run waits again.
    pub(crate) fn waits_again(&mut self) {
        if self.is_counted && !std::mem::replace(&mut self.waits, true) {
            self.account.slot_freed(false);
            self.account.slot_taken(true);
        }
    }
}

impl Drop for InFlightSlot {
    fn drop(&mut self) {
        if self.is_counted {
            self.account.slot_freed(self.waits);
        }
    }
}
