//! A job store that is measured: how long each verb takes.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::host::Host;
use jiff::Timestamp;
use jobs::job::{Definition, Ending, Job, JobId, NewJob, Workload};
use jobs::json::Json;
use jobs::store::{
    CancelRequested, Claimant, Claimed, Counts, Error, Filter, JobStore, Lease, LeaseState, Page,
    StoredEvent, SubmitOptions, Submitted,
};
use jobs::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};
use prometheus::Histogram;

use crate::metrics::Metrics;

/// Passes everything on to a store and notes the time it takes.
pub struct CountedStore {
    store: Arc<dyn JobStore>,
    host: Arc<dyn Host>,
    seconds: Verbs,
}

struct Verbs {
    submit: Histogram,
    claim: Histogram,
    heartbeat: Histogram,
    checkpoint: Histogram,
    finish: Histogram,
    cancel: Histogram,
    read: Histogram,
    list: Histogram,
    delivery: Histogram,
    remove: Histogram,
}

impl CountedStore {
    /// Around that store.
    pub fn new(store: Arc<dyn JobStore>, host: Arc<dyn Host>, metrics: &Metrics) -> Self {
        Self {
            store,
            host,
            seconds: Verbs {
                submit: metrics.store("submit"),
                claim: metrics.store("claim"),
                heartbeat: metrics.store("heartbeat"),
                checkpoint: metrics.store("checkpoint"),
                finish: metrics.store("finish"),
                cancel: metrics.store("cancel"),
                read: metrics.store("read"),
                list: metrics.store("list"),
                delivery: metrics.store("delivery"),
                remove: metrics.store("remove"),
            },
        }
    }

    async fn timed<F: Future>(&self, seconds: &Histogram, work: F) -> F::Output {
        let started = self.host.elapsed();
        let result = work.await;
        seconds.observe(since(self.host.elapsed(), started));
        result
    }
}

fn since(now: Duration, started: Duration) -> f64 {
    now.saturating_sub(started).as_secs_f64()
}

impl fmt::Debug for CountedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl JobStore for CountedStore {
    async fn submit(&self, job: NewJob, options: SubmitOptions) -> Result<Submitted, Error> {
        self.timed(&self.seconds.submit, self.store.submit(job, options))
            .await
    }

    async fn submit_ended(
        &self,
        job: NewJob,
        by: &Claimant,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        let work = self.store.submit_ended(job, by, ending, events);
        self.timed(&self.seconds.submit, work).await
    }

    async fn claim(
        &self,
        by: &Claimant,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.timed(&self.seconds.claim, self.store.claim(by, limit, now))
            .await
    }

    async fn claim_fairly(
        &self,
        by: &Claimant,
        limit: usize,
        running: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        let work = self.store.claim_fairly(by, limit, running, now);
        self.timed(&self.seconds.claim, work).await
    }

    async fn release_leases(&self) -> Result<usize, Error> {
        self.store.release_leases().await
    }

    async fn claim_overdue(
        &self,
        by: &Claimant,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        let work = self.store.claim_overdue(by, limit, now);
        self.timed(&self.seconds.claim, work).await
    }

    async fn heartbeat(
        &self,
        leases: &[Lease],
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<LeaseState>, Error> {
        let work = self.store.heartbeat(leases, lease_for, now);
        self.timed(&self.seconds.heartbeat, work).await
    }

    async fn checkpoint(
        &self,
        lease: &Lease,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<(), Error> {
        let work = self.store.checkpoint(lease, progress, events);
        self.timed(&self.seconds.checkpoint, work).await
    }

    async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        let work = self.store.finish(lease, ending, events);
        self.timed(&self.seconds.finish, work).await
    }

    async fn hand_back(&self, lease: &Lease) -> Result<(), Error> {
        self.store.hand_back(lease).await
    }

    async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<CancelRequested, Error> {
        self.timed(&self.seconds.cancel, self.store.request_cancel(id, now))
            .await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.timed(&self.seconds.read, self.store.get(id)).await
    }

    async fn workload(&self, id: JobId) -> Result<Option<Workload>, Error> {
        self.timed(&self.seconds.read, self.store.workload(id))
            .await
    }

    async fn definition(&self, hash: &str) -> Result<Option<Arc<Definition>>, Error> {
        self.timed(&self.seconds.read, self.store.definition(hash))
            .await
    }

    async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.timed(&self.seconds.list, self.store.list(filter, cursor, limit))
            .await
    }

    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        self.timed(&self.seconds.read, self.store.events(id, after, limit))
            .await
    }

    async fn claim_deliveries(
        &self,
        capacity: &DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Error> {
        let work = self.store.claim_deliveries(capacity, lease_for, now);
        self.timed(&self.seconds.delivery, work).await
    }

    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        settlement: Settlement,
    ) -> Result<(), Error> {
        let work = self.store.settle_delivery(lease, settlement);
        self.timed(&self.seconds.delivery, work).await
    }

    async fn webhook(&self, id: JobId) -> Result<Option<Webhook>, Error> {
        self.timed(&self.seconds.read, self.store.webhook(id)).await
    }

    async fn delete(&self, id: JobId) -> Result<(), Error> {
        self.timed(&self.seconds.remove, self.store.delete(id))
            .await
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.timed(&self.seconds.remove, self.store.expire(before, limit))
            .await
    }

    async fn expire_over(&self, max_bytes: u64, limit: usize) -> Result<usize, Error> {
        let work = self.store.expire_over(max_bytes, limit);
        self.timed(&self.seconds.remove, work).await
    }

    async fn expire_keys(&self, used_before: Timestamp, limit: usize) -> Result<usize, Error> {
        let work = self.store.expire_keys(used_before, limit);
        self.timed(&self.seconds.remove, work).await
    }

    async fn counts(&self) -> Result<Counts, Error> {
        self.timed(&self.seconds.list, self.store.counts()).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.store.ping().await
    }

    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }
}
