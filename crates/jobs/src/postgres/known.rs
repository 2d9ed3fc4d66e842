//! What this process knows of the database without asking.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// How long a definition that was stored or touched counts as stored. One that was not touched for two
/// days can be deleted.
const DEFINITION_KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

/// Most definitions that are remembered.
const MOST_DEFINITIONS: usize = 10_000;

/// How old the number of queued jobs may be.
const PENDING_KNOWN_FOR: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Known {
    definitions: Mutex<HashMap<Arc<str>, Instant>>,
    id_skew_ms: AtomicI64,
    pending: Mutex<Option<Pending>>,
}

/// The queued jobs when they were counted, and those that were submitted here since.
#[derive(Debug, Clone, Copy)]
struct Pending {
    jobs: usize,
    read_at: Instant,
}

impl Known {
    pub(super) fn has_definition(&self, hash: &str) -> bool {
        let until = self.definitions().get(hash).copied();
        until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn learn_definitions<'a>(&self, hashes: impl Iterator<Item = &'a Arc<str>>) {
        let until = Instant::now() + DEFINITION_KNOWN_FOR;
        let mut definitions = self.definitions();
        for hash in hashes {
            if definitions.len() >= MOST_DEFINITIONS {
                definitions.clear();
            }
            definitions.insert(hash.clone(), until);
        }
    }

    /// The greatest difference between a job's `created_at` and the time in its id that the database
    /// allows for, at least.
    pub(super) fn id_skew_ms(&self) -> i64 {
        self.id_skew_ms.load(Ordering::Relaxed)
    }

    pub(super) fn learn_id_skew(&self, ms: i64) {
        self.id_skew_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// The number of queued jobs, unless it must be read: it is old, or so many more would be too many.
    pub(super) fn pending(&self, more: usize, most: usize) -> Option<usize> {
        let pending = *self.pending_jobs();
        pending
            .filter(|pending| pending.read_at.elapsed() < PENDING_KNOWN_FOR)
            .map(|pending| pending.jobs)
            .filter(|jobs| jobs.saturating_add(more) <= most)
    }

    pub(super) fn learn_pending(&self, jobs: usize) {
        let read_at = Instant::now();
        *self.pending_jobs() = Some(Pending { jobs, read_at });
    }

    pub(super) fn add_pending(&self, more: usize) {
        if let Some(pending) = &mut *self.pending_jobs() {
            pending.jobs += more;
        }
    }

    fn definitions(&self) -> MutexGuard<'_, HashMap<Arc<str>, Instant>> {
        self.definitions
            .lock()
            .expect("nothing panics while it holds them")
    }

    fn pending_jobs(&self) -> MutexGuard<'_, Option<Pending>> {
        self.pending
            .lock()
            .expect("nothing panics while it holds the number")
    }
}
