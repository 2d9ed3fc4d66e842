//! What a run has come to know of its sensitive values.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lang::privacy::{Search, Secrets};

use crate::offload::{self, QUICK};

/// What the run has come to know.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) secrets: Secrets,
    /// Prompts in flight, and the same with every sensitive placeholder masked: a value too short to be
    /// looked for in text is hidden there as well.
    pub(crate) prompts: Vec<(String, String)>,
}

/// The search for what is known by now. To make it takes time where much was learnt since the last.
pub(crate) fn search(known: &Mutex<Known>) -> Search {
    let is_long = lock(known).secrets.unsearched() > QUICK;
    offload::run(is_long, || lock(known).secrets.search())
}

/// Everything in there is whole between any two of its changes, whoever panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
