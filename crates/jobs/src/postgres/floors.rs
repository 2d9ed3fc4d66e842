//! Where each queue begins, so that a claim does not walk what is dead before it.
//!
//! While some transaction is open for long, the entries that claimed jobs leave in the indexes cannot
//! be removed, and a look walks them all to find the first job that waits. With many of them, looks
//! start where the one before has found the first job, and only now and then at the very beginning:
//! that also finds what has come before, such as a job that was handed back, and other workflows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::id::JobId;

/// From so many dead rows on they are not walked each time: fewer take a few milliseconds.
const MANY: i64 = 10_000;

/// How long they are not walked for each so many of them.
const PAUSE: Duration = Duration::from_millis(250);

const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What one handle knows.
#[derive(Debug, Default)]
pub(super) struct Floors(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The first job of each queue, as it was seen last.
    first: BTreeMap<Arc<str>, JobId>,
    next_full: Option<Instant>,
}

impl Floors {
    /// Workflows and where to begin in their queues; `None`: at the beginning of all that there are.
    pub(super) fn known(&self) -> Option<(Vec<String>, Vec<JobId>)> {
        let known = self.lock();
        let next_full = known.next_full?;
        (Instant::now() < next_full).then(|| {
            let floors = known.first.iter();
            floors
                .map(|(workflow, job)| (workflow.to_string(), *job))
                .unzip()
        })
    }

    /// After a look: the queues it has found and, if it was a full one, the number of dead rows.
    pub(super) fn learn(&self, queues: &BTreeMap<Arc<str>, Vec<(JobId, i64)>>, dead: Option<i64>) {
        let mut known = self.lock();
        if let Some(dead) = dead {
            known.first.clear();
            let pauses = u32::try_from(dead / MANY).unwrap_or(u32::MAX);
            known.next_full = (pauses > 0)
                .then(|| Instant::now() + PAUSE.saturating_mul(pauses).min(LONGEST_PAUSE));
        }
        for (workflow, queue) in queues {
            if let Some((job, _)) = queue.first() {
                known.first.insert(workflow.clone(), *job);
            }
        }
    }

    /// Something may have come before what is known.
    pub(super) fn forget(&self) {
        self.lock().next_full = None;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0
            .lock()
            .expect("nothing panics while it holds the floors")
    }
}
