//! A store behind a network that loses answers: a call is made, its answer thrown away, and the call
//! made again, at random. Where the trait says that the second answer is another one, it is asserted
//! to be that one, and the caller gets the first: a caller that knows that the answer was lost reads
//! the second one as that.
//!
//! Claims are made once: what a lost answer gave is found by a beat, or lapses. So are the verbs that
//! delete what is old, which find more each time, and reads.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use jiff::Timestamp;
use jobs::allotment::Wish;
use jobs::job::{Definition, Ending, Job, JobId, NewJob, Status, Workload};
use jobs::json::Json;
use jobs::key::{Changed, Hidden256, KeyChange, KeyRecord, KeyStore, Keys};
use jobs::parking::{Parked, Wait, WakeUp, Woken};
use jobs::spend::{Allotted, BatchNumber, Day, KeyDay, SpendStore, Spent};
use jobs::store::{
    Beat, CancelRequested, Claimed, Counts, Error, Filter, JobStore, Lease, Page, Renewal, Replica,
    ReplicaId, ReplicaState, StoredEvent, SubmitOptions, Submitted, Tail, Unfinished,
};
use jobs::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};

use crate::seed::seeded;

#[derive(Debug)]
pub(crate) struct LostAnswers<S> {
    store: S,
    random: Mutex<Rng>,
}

impl<S> LostAnswers<S> {
    pub(crate) fn new(store: S) -> Self {
        Self {
            store,
            random: Mutex::new(seeded()),
        }
    }

    fn loses_one(&self) -> bool {
        self.random.lock().unwrap().bool()
    }
}

/// Makes a call; perhaps loses the answer and makes it again. `differs` says of the first answer
/// whether another one follows it, which then must match the pattern.
macro_rules! call {
    ($self:ident, $call:expr) => {{
        let first = $call.await;
        if $self.loses_one() {
            $call.await
        } else {
            first
        }
    }};
    ($self:ident, $call:expr, $differs:pat => $again:pat) => {{
        let first = $call.await;
        if !$self.loses_one() {
            return first;
        }
        let again = $call.await;
        if !matches!(first, $differs) {
            return again;
        }
        assert!(matches!(again, $again), "after {first:?} again {again:?}");
        first
    }};
}

#[async_trait]
impl<S: JobStore> JobStore for LostAnswers<S> {
    async fn submit(&self, job: NewJob, options: SubmitOptions) -> Result<Submitted, Error> {
        call!(self, self.store.submit(job.clone(), options.clone()))
    }

    async fn submit_ended(
        &self,
        job: NewJob,
        by: ReplicaId,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        call!(
            self,
            self.store
                .submit_ended(job.clone(), by, ending.clone(), events.clone())
        )
    }

    async fn claim(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.store.claim(by, limit, now).await
    }

    async fn claim_fairly(
        &self,
        by: ReplicaId,
        limit: usize,
        running: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.store.claim_fairly(by, limit, running, now).await
    }

    async fn release_leases(&self) -> Result<usize, Error> {
        call!(self, self.store.release_leases())
    }

    async fn register(&self, replica: &Replica, now: Timestamp) -> Result<(), Error> {
        call!(self, self.store.register(replica, now))
    }

    async fn beat(
        &self,
        by: ReplicaId,
        renewal: Renewal<'_>,
        now: Timestamp,
    ) -> Result<Beat, Error> {
        call!(self, self.store.beat(by, renewal, now))
    }

    async fn deregister(&self, id: ReplicaId) -> Result<(), Error> {
        call!(self, self.store.deregister(id))
    }

    async fn replicas(&self) -> Result<Vec<ReplicaState>, Error> {
        self.store.replicas().await
    }

    async fn cancelling(&self, by: ReplicaId) -> Result<Vec<JobId>, Error> {
        self.store.cancelling(by).await
    }

    async fn claim_overdue(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.store.claim_overdue(by, limit, now).await
    }

    async fn checkpoint(
        &self,
        lease: &Lease,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<(), Error> {
        call!(
            self,
            self.store
                .checkpoint(lease, progress.clone(), events.clone())
        )
    }

    async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        call!(
            self,
            self.store.finish(lease, ending.clone(), events.clone())
        )
    }

    async fn hand_back(&self, lease: &Lease) -> Result<(), Error> {
        call!(self, self.store.hand_back(lease), Ok(()) => Err(Error::LeaseLost(_)))
    }

    async fn park(
        &self,
        lease: &Lease,
        wait: Wait,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<Parked, Error> {
        call!(
            self,
            self.store.park(lease, wait.clone(), progress.clone(), events.clone()),
            Ok(Parked::Waiting | Parked::Queued) => Err(Error::LeaseLost(_))
        )
    }

    async fn wake(&self, id: JobId, wake_up: WakeUp) -> Result<Woken, Error> {
        call!(
            self,
            self.store.wake(id, wake_up.clone()),
            Ok(Woken::Queued | Woken::Kept) => Ok(Woken::Known | Woken::Ended(_))
        )
    }

    async fn waits_for(&self, id: JobId) -> Result<Option<Wait>, Error> {
        self.store.waits_for(id).await
    }

    async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<CancelRequested, Error> {
        call!(
            self,
            self.store.request_cancel(id, now),
            Ok(CancelRequested::Cancelled) => Ok(CancelRequested::Ended(Status::Cancelled))
        )
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.store.get(id).await
    }

    async fn workload(&self, id: JobId) -> Result<Option<Workload>, Error> {
        self.store.workload(id).await
    }

    async fn definition(&self, hash: &str) -> Result<Option<Arc<Definition>>, Error> {
        self.store.definition(hash).await
    }

    async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.store.list(filter, cursor, limit).await
    }

    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        self.store.events(id, after, limit).await
    }

    async fn tails(
        &self,
        positions: &[(JobId, u64)],
        limit: usize,
    ) -> Result<Vec<Option<Tail>>, Error> {
        self.store.tails(positions, limit).await
    }

    async fn claim_deliveries(
        &self,
        capacity: &DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Error> {
        self.store.claim_deliveries(capacity, lease_for, now).await
    }

    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<(), Error> {
        call!(
            self,
            self.store.settle_delivery(lease, settlement.clone(), now),
            Ok(()) => Err(Error::LeaseLost(_))
        )
    }

    async fn webhook(&self, id: JobId) -> Result<Option<Webhook>, Error> {
        self.store.webhook(id).await
    }

    async fn delete(&self, id: JobId) -> Result<(), Error> {
        call!(self, self.store.delete(id), Ok(()) => Err(Error::NotFound))
    }

    async fn expire(
        &self,
        kept_for: Duration,
        limit: usize,
        now: Timestamp,
    ) -> Result<usize, Error> {
        self.store.expire(kept_for, limit, now).await
    }

    async fn expire_over(&self, max_bytes: u64, limit: usize) -> Result<usize, Error> {
        self.store.expire_over(max_bytes, limit).await
    }

    async fn expire_keys(&self, limit: usize, now: Timestamp) -> Result<usize, Error> {
        self.store.expire_keys(limit, now).await
    }

    async fn counts(&self) -> Result<Counts, Error> {
        self.store.counts().await
    }

    async fn unfinished(
        &self,
        owner: Option<&str>,
    ) -> Result<BTreeMap<Arc<str>, Unfinished>, Error> {
        self.store.unfinished(owner).await
    }

    async fn ping(&self) -> Result<(), Error> {
        call!(self, self.store.ping())
    }

    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }
}

#[async_trait]
impl<S: KeyStore> KeyStore for LostAnswers<S> {
    async fn hashing_key(&self, fresh: Hidden256) -> Result<Hidden256, Error> {
        call!(self, self.store.hashing_key(fresh.clone()))
    }

    async fn keys(&self) -> Result<Keys, Error> {
        self.store.keys().await
    }

    async fn add_key(&self, key: KeyRecord) -> Result<bool, Error> {
        call!(self, self.store.add_key(key.clone()))
    }

    async fn change_key(&self, id: &str, change: KeyChange) -> Result<Changed, Error> {
        if matches!(change, KeyChange::Rotate { .. }) {
            return call!(self, self.store.change_key(id, change.clone()));
        }
        call!(
            self,
            self.store.change_key(id, change.clone()),
            Ok(Changed::Done(_)) => Ok(Changed::Revoked)
        )
    }

    async fn keys_used(&self, uses: Vec<(Arc<str>, Timestamp)>) -> Result<(), Error> {
        call!(self, self.store.keys_used(uses.clone()))
    }
}

#[async_trait]
impl<S: SpendStore> SpendStore for LostAnswers<S> {
    /// Others may have added to the sums before the second answer: the caller gets the first.
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error> {
        let first = self.store.spend(batch, more.clone()).await?;
        if self.loses_one() {
            self.store.spend(batch, more).await?;
        }
        Ok(first)
    }

    async fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        now: Timestamp,
    ) -> Result<Allotted, Error> {
        call!(
            self,
            self.store
                .allot(batch, by, more.clone(), wishes.clone(), now)
        )
    }

    async fn spent(&self, key: Option<&str>, since: Day) -> Result<Vec<KeyDay>, Error> {
        self.store.spent(key, since).await
    }

    async fn forget_spent(&self, before: Day) -> Result<(), Error> {
        call!(self, self.store.forget_spent(before))
    }
}
