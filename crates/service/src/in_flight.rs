//! What API keys have in flight: their accounts, and the in-flight slots of jobs that wait in the
//! store. Only who takes a job out of the queue ends its slot. Empty where keys are not counted.
//!
//! Where other processes use the same store, any of them may take a job, end it or die with it. So
//! nothing is counted here then: the store counts the jobs themselves when one is submitted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobs::job::{Job, JobId, Status};
use jobs::store::{Error, Filter, JobStore, OwnerLimits, ReplicaId};

use crate::limits::{Account, Accounts, Exceeded, InFlightSlot};

/// Jobs read in one call of the store.
const PAGE: usize = 256;

#[derive(Debug)]
pub(crate) struct InFlight {
    accounts: Option<Arc<Accounts>>,
    /// The store counts the jobs of each key.
    is_shared: bool,
    queued: Mutex<HashMap<JobId, InFlightSlot>>,
}

impl InFlight {
    pub(crate) fn new(accounts: Option<Arc<Accounts>>, is_shared: bool) -> Self {
        Self {
            accounts,
            is_shared,
            queued: Mutex::default(),
        }
    }

    /// The account of a job's owner.
    pub(crate) fn account_of(&self, owner: Option<&Arc<str>>) -> Option<Arc<Account>> {
        Some(self.accounts.as_ref()?.of(owner?))
    }

    /// This process is another replica from now on.
    pub(crate) fn begin_anew(&self, replica: ReplicaId) {
        if let Some(accounts) = &self.accounts {
            accounts.set_replica(replica);
        }
    }

    /// Waits until what a job's owner has spent at other replicas is known.
    pub(crate) async fn refreshed(&self, owner: Option<&Arc<str>>) {
        if let Some(account) = self.account_of(owner).filter(|_| self.is_shared) {
            account.refreshed().await;
        }
    }

    /// Another process needs what is set aside here for this key.
    pub(crate) fn give_back(&self, key: &str) {
        if let Some(accounts) = &self.accounts {
            accounts.give_back(key);
        }
    }

    /// Stores what was spent.
    pub(crate) async fn write(&self) {
        if let Some(accounts) = &self.accounts
            && let Err(error) = accounts.write().await
        {
            tracing::warn!(%error, "cannot store what API keys have spent");
        }
    }

    /// A slot for a run that is about to be accepted; `None` where keys are not counted.
    pub(crate) fn take(
        &self,
        owner: Option<&Arc<str>>,
        waits: bool,
    ) -> Result<Option<InFlightSlot>, Exceeded> {
        let Some(account) = self.account_of(owner) else {
            return Ok(None);
        };
        let slot = if self.is_shared {
            InFlightSlot::uncounted(&account)
        } else {
            InFlightSlot::take(&account, waits)
        };
        slot.map(Some)
    }

    /// What the store is to allow a job's owner.
    pub(crate) fn owner_limits(&self, owner: Option<&Arc<str>>) -> OwnerLimits {
        if !self.is_shared {
            return OwnerLimits::default();
        }
        let account = self.account_of(owner);
        account.map_or_else(OwnerLimits::default, |account| account.owner_limits())
    }

    /// A job waits in the store, with its slot.
    pub(crate) fn queue(&self, id: JobId, slot: InFlightSlot) {
        if !self.is_shared {
            self.queued().insert(id, slot);
        }
    }

    /// The slot of a job that does not wait any more.
    pub(crate) fn dequeue(&self, id: JobId) -> Option<InFlightSlot> {
        self.queued().remove(&id)
    }

    /// The slot of a job that was claimed. It was accepted before: no limit stands in its way.
    pub(crate) fn claimed(&self, job: &Job) -> Option<InFlightSlot> {
        let account = self.account_of(job.owner.as_ref())?;
        if self.is_shared {
            return Some(InFlightSlot::of_stored(&account));
        }
        let waited = self.dequeue(job.id);
        let mut slot = waited.unwrap_or_else(|| InFlightSlot::retake(&account, true));
        slot.starts_running();
        Some(slot)
    }

    /// Counts the jobs that an earlier process left in the store, which this one has to itself. None
    /// of them runs yet.
    pub(crate) async fn recall(&self, store: &dyn JobStore) -> Result<(), Error> {
        if self.accounts.is_none() || self.is_shared {
            return Ok(());
        }
        // A parked job has given its slot back.
        for status in [Status::Pending, Status::Running, Status::Cancelling] {
            let active = Filter {
                status: Some(status),
                ..Filter::default()
            };
            let mut cursor = None;
            loop {
                let page = store.list(&active, cursor, PAGE).await?;
                for job in &page.jobs {
                    if let Some(account) = self.account_of(job.owner.as_ref()) {
                        let mut queued = self.queued();
                        let slot = queued.entry(job.id);
                        slot.or_insert_with(|| InFlightSlot::retake(&account, true));
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

    fn queued(&self) -> MutexGuard<'_, HashMap<JobId, InFlightSlot>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
