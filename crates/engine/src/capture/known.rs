//! The sensitive values that a run has learned so far.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lang::privacy::{Search, Secrets};

use crate::offload::{self, MAX_INLINE_BYTES};

/// The sensitive values of one run.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) secrets: Secrets,
    /// Prompts in flight, each with a form in which every sensitive placeholder is masked. That
    /// form also hides values that are too short to be searched for in text.
    pub(crate) prompts: Vec<(String, String)>,
}

/// A search for all values that are known by now. Making it takes time if much was learned since
/// the last.
pub(crate) fn search(known: &Mutex<Known>) -> Search {
    let is_long = lock(known).secrets.unsearched() > MAX_INLINE_BYTES;
    offload::run(is_long, || lock(known).secrets.search())
}

/// The data is valid even if a thread panicked while holding the lock: every change is complete in
/// itself.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
