//! The places that API keys have in the queue, by job: whoever takes a job out of it, or it alone, ends its
//! place. Empty where nobody counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobs::job::{Job, JobId, Status};
use jobs::store::{Error, Filter};

use crate::limits::{Account, InFlightSlot};
use crate::service::Shared;

/// Jobs read in one call of the store.
const PAGE: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<HashMap<JobId, InFlightSlot>>);

impl Waiting {
    pub(crate) fn put(&self, id: JobId, place: InFlightSlot) {
        self.places().insert(id, place);
    }

    /// The place of a job that waits no more.
    pub(crate) fn take(&self, id: JobId) -> Option<InFlightSlot> {
        self.places().remove(&id)
    }

    fn places(&self) -> MutexGuard<'_, HashMap<JobId, InFlightSlot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The account of whom a job belongs to.
    pub(crate) fn account_of(&self, owner: Option<&Arc<str>>) -> Option<Arc<Account>> {
        Some(self.accounts.as_ref()?.of(owner?))
    }

    /// The place of a job that was claimed. It was accepted before: no limit stands in its way.
    pub(crate) fn claimed_place(&self, job: &Job) -> Option<InFlightSlot> {
        let account = self.account_of(job.owner.as_ref())?;
        let waited = self.waiting.take(job.id);
        let mut place = waited.unwrap_or_else(|| account.retake_slot(true));
        place.starts_running();
        Some(place)
    }

    /// Counts what an earlier process left in the store. Nothing of it runs yet.
    pub(crate) async fn recall_places(&self) -> Result<(), Error> {
        if self.accounts.is_none() {
            return Ok(());
        }
        // A parked job has given its place back.
        for status in [Status::Pending, Status::Running, Status::Cancelling] {
            let active = Filter {
                status: Some(status),
                ..Filter::default()
            };
            let mut cursor = None;
            loop {
                let page = self.store.list(&active, cursor, PAGE).await?;
                for job in &page.jobs {
                    if let Some(account) = self.account_of(job.owner.as_ref()) {
                        let mut places = self.waiting.places();
                        let place = places.entry(job.id);
                        place.or_insert_with(|| account.retake_slot(true));
                    }
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}
