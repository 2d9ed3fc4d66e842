//! The store in a PostgreSQL database, for several replicas at once.
//!
//! **Tables** (`postgres/schema_*.sql`, in the schema `flowmill`). `active` has the jobs that have not
//! ended: a small table, the only one that changes often. `jobs` has a row per job, inserted when it is
//! accepted and updated once, when it ends. What is large is in tables of its own by job: `work`
//! (inputs, options), `progress`, `outputs`, `events`. A definition is stored once. `replicas` has a row
//! per life of a process: a job whose replica is missing there, or dead, has lapsed.
//!
//! **Clock.** Leases, deadlines and ages are judged by the server's `now()`. What a job's record says
//! of times is the caller's.
//!
//! **Writing.** The verbs that every run needs (`submit`, `submit_ended`, `checkpoint`, `finish`) are
//! committed together, many in one transaction of set-based statements (`writer`). All others run alone
//! (`sessions`). Jobs are locked in the order of their ids, so that two transactions do not wait for
//! each other; `tally` comes last.
//!
//! **Durability.** What was answered was committed as the server's `synchronous_commit` has it.

mod admission;
mod allotments;
mod batch;
mod claims;
mod commands;
mod connect;
mod deaths;
mod deliveries;
mod endings;
mod fault;
mod floors;
mod keys;
mod known;
mod leases;
mod listing;
mod meta;
mod open;
mod options;
mod owners;
mod parking;
mod probes;
mod queue;
mod reading;
mod reads;
mod removal;
mod replicas;
mod sessions;
mod signal_batch;
mod signals;
mod spend;
mod submission;
mod tails;
mod taking;
mod tally;
mod unfinished;
mod values;
mod waking;
mod writer;
mod writes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::job::{Definition, Ending, Job, JobId, NewJob, Workload};
use crate::json::Json;
use crate::parking::{Parked, Wait, WakeUp, Woken};
use crate::store::{
    Beat, CancelRequested, Claimed, Counts, Error, Filter, JobStore, Lease, Page, Renewal, Replica,
    ReplicaId, ReplicaState, StoredEvent, SubmitOptions, Submitted, Tail, Unfinished,
};
use crate::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};
use claims::Claims;
use probes::Probe;
use queue::Order;
use sessions::{Connector, Sessions};
use writer::Writer;

pub use connect::ConnectError;
pub use open::OpenError;
pub use options::{Clock, Options, Url, UrlError};
pub use sessions::Activity;
pub use signals::PostgresSignals;

/// See the module.
pub struct PostgresStore {
    connector: Connector,
    sessions: Sessions,
    claims: Claims,
    due_deliveries: Arc<Probe>,
    writer: Writer,
    url: Url,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresStore").field(&self.url).finish()
    }
}

impl PostgresStore {
    /// Connects to a database, and makes or migrates the tables there.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let connector = Connector::new(options);
        open::prepare(&connector, options).await?;
        let sessions = Sessions::new(connector.clone(), options);
        Ok(Self {
            claims: Claims::new(sessions.clone()),
            due_deliveries: Arc::new(Probe::deliveries()),
            sessions,
            writer: Writer::start(&connector, options),
            connector,
            url: options.url.clone(),
        })
    }

    /// What it has asked of the server since it was opened.
    pub fn activity(&self) -> Activity {
        self.connector.counters().read()
    }
}

#[async_trait]
impl JobStore for PostgresStore {
    async fn submit(&self, job: NewJob, options: SubmitOptions) -> Result<Submitted, Error> {
        self.submit(job, options).await
    }

    async fn submit_ended(
        &self,
        job: NewJob,
        by: ReplicaId,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        self.submit_ended(job, by, ending, events).await
    }

    async fn claim(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.claims.claim(by, limit, Order::Age, now).await
    }

    async fn claim_fairly(
        &self,
        by: ReplicaId,
        limit: usize,
        _: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.claims.claim(by, limit, Order::Fairness, now).await
    }

    /// The leases of others end in their time.
    async fn release_leases(&self) -> Result<usize, Error> {
        Ok(0)
    }

    async fn register(&self, replica: &Replica, now: Timestamp) -> Result<(), Error> {
        self.register(replica, now).await
    }

    async fn beat(
        &self,
        by: ReplicaId,
        renewal: Renewal<'_>,
        now: Timestamp,
    ) -> Result<Beat, Error> {
        self.beat(by, renewal, now).await
    }

    async fn deregister(&self, id: ReplicaId) -> Result<(), Error> {
        self.deregister(id).await
    }

    async fn replicas(&self) -> Result<Vec<ReplicaState>, Error> {
        self.replicas().await
    }

    async fn cancelling(&self, by: ReplicaId) -> Result<Vec<JobId>, Error> {
        self.cancelling(by).await
    }

    async fn claim_overdue(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.claims.claim_overdue(by, limit, now).await
    }

    async fn checkpoint(
        &self,
        lease: &Lease,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<(), Error> {
        self.checkpoint(lease, progress, events).await
    }

    async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        self.finish(lease, ending, events).await
    }

    async fn hand_back(&self, lease: &Lease) -> Result<(), Error> {
        self.hand_back(lease).await
    }

    async fn park(
        &self,
        lease: &Lease,
        wait: Wait,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<Parked, Error> {
        self.park(lease, wait, progress, events).await
    }

    async fn wake(&self, id: JobId, wake_up: WakeUp) -> Result<Woken, Error> {
        self.wake(id, wake_up).await
    }

    async fn waits_for(&self, id: JobId) -> Result<Option<Wait>, Error> {
        self.waits_for(id).await
    }

    async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<CancelRequested, Error> {
        self.request_cancel(id, now).await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.get(id).await
    }

    async fn workload(&self, id: JobId) -> Result<Option<Workload>, Error> {
        self.workload(id).await
    }

    async fn definition(&self, hash: &str) -> Result<Option<Arc<Definition>>, Error> {
        self.definition(hash).await
    }

    async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.list(filter, cursor, limit).await
    }

    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        self.events(id, after, limit).await
    }

    async fn tails(
        &self,
        positions: &[(JobId, u64)],
        limit: usize,
    ) -> Result<Vec<Option<Tail>>, Error> {
        self.tails(positions, limit).await
    }

    async fn claim_deliveries(
        &self,
        capacity: &DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Error> {
        self.claim_deliveries(capacity, lease_for, now).await
    }

    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.settle_delivery(lease, settlement, now).await
    }

    async fn webhook(&self, id: JobId) -> Result<Option<Webhook>, Error> {
        self.webhook(id).await
    }

    async fn delete(&self, id: JobId) -> Result<(), Error> {
        self.delete(id).await
    }

    async fn expire(
        &self,
        kept_for: Duration,
        limit: usize,
        now: Timestamp,
    ) -> Result<usize, Error> {
        self.expire(kept_for, limit, now).await
    }

    async fn expire_over(&self, max_bytes: u64, limit: usize) -> Result<usize, Error> {
        self.expire_over(max_bytes, limit).await
    }

    async fn expire_keys(&self, limit: usize, now: Timestamp) -> Result<usize, Error> {
        self.expire_keys(limit, now).await
    }

    async fn counts(&self) -> Result<Counts, Error> {
        self.counts().await
    }

    async fn unfinished(
        &self,
        owner: Option<&str>,
    ) -> Result<BTreeMap<Arc<str>, Unfinished>, Error> {
        self.unfinished(owner).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.ping().await
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        true
    }
}
