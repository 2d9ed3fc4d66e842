//! The store's verbs. Written for several processes on one store: leases with heartbeats and fencing
//! tokens, no assumption that whoever submits a job also runs it. Times come from the caller.
//!
//! `tests/it/conformance.rs` is what every store must pass.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::job::{Definition, Ending, Job, JobId, NewJob, Status, Transition, Workload};
use crate::json::Json;
use crate::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};

/// How long an `Idempotency-Key` is remembered, whatever becomes of its job.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Events kept per job; beyond it the oldest go, and a replay begins with the oldest that is left.
pub const MAX_EVENTS: usize = 10_000;

/// Events of this kind show that a run got on: what is counted since is counted anew.
pub const PROGRESS_EVENT: &str = "node_completed";

/// What a worker holds while it runs a job. Every write through a lease checks its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Rises with every claim of the job; an older one is refused.
    pub token: u64,
    /// From when on another worker may take the job. Until one does, a heartbeat still renews it.
    pub expires_at: Timestamp,
}

/// Who claims, and for how long without a heartbeat.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// Names the process, for people who look into the store.
    pub worker: Arc<str>,
    /// From the claim.
    pub lease_for: Duration,
}

/// A job handed to a worker.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The record; its status is `Running`, or `Cancelling` when all that is left is to end it.
    pub job: Job,
    /// The right to write to it.
    pub lease: Lease,
    /// What to do, with the progress saved last.
    pub workload: Workload,
    /// Id of the last event stored; 0 where there is none.
    pub last_event: u64,
    /// Claims since the run last got on, this one included and those that were handed back excluded.
    pub starts: u32,
    /// The worker that had it before let its lease lapse: it is gone, with what it had under way.
    pub was_lost: bool,
}

/// How to submit.
#[derive(Debug, Clone, Default)]
pub struct SubmitOptions {
    /// Claim in the same commit: a run that starts at once needs no second trip.
    pub claim: Option<Claimant>,
    /// Refuse when this many jobs are pending already. Does not bind a job that is claimed at once.
    pub max_pending: Option<usize>,
}

/// What became of a submission.
#[derive(Debug)]
pub enum Submitted {
    /// It is stored, and claimed where [`SubmitOptions::claim`] asked for it.
    New(Option<Box<Claimed>>),
    /// The idempotency key was used for the same thing: that job. Nothing was stored.
    Existing(Box<Job>),
    /// The idempotency key was used for the same thing, and that job has been forgotten since. Nothing was
    /// stored.
    Forgotten {
        /// The job that there was.
        job: JobId,
        /// How it ended.
        status: Status,
    },
    /// The idempotency key was used for something else. Nothing was stored.
    KeyReused,
}

/// One stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Above 0, rising within the job.
    pub id: u64,
    /// `run_started`, …
    pub kind: Cow<'static, str>,
    /// The whole event.
    pub data: Json,
}

/// Which jobs to list: all conditions hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this workflow.
    pub workflow: Option<String>,
    /// Standing so.
    pub status: Option<Status>,
    /// Accepted later than this.
    pub created_after: Option<Timestamp>,
    /// Accepted earlier than this.
    pub created_before: Option<Timestamp>,
    /// Made with this key.
    pub owner: Option<String>,
    /// Of one of these workflows.
    pub workflows: Option<BTreeSet<String>>,
}

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first; without outputs. No more than asked for, and none that would make the page longer than
    /// [`PAGE_BYTES`]; but one where there is one.
    pub jobs: Vec<Job>,
    /// The cursor of the next page, if there is one: the last id of this page.
    pub next: Option<JobId>,
}

/// What the labels, problems and usage of a page's jobs may take together, in bytes.
pub const PAGE_BYTES: usize = 1 << 20;

/// A page while its jobs are read, newest first.
#[derive(Debug)]
pub(crate) struct PageInProgress {
    most: usize,
    jobs: Vec<Job>,
    bytes: usize,
    rows: usize,
    last: Option<JobId>,
    is_full: bool,
}

impl PageInProgress {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            jobs: Vec::new(),
            bytes: 0,
            rows: 0,
            last: None,
            is_full: false,
        }
    }

    /// Adds a job, if it has room; where it has none the page is at its end and another follows.
    pub(crate) fn add(&mut self, job: Job) -> bool {
        self.bytes += job.listed_bytes();
        self.is_full = self.rows == self.most || (self.bytes > PAGE_BYTES && self.rows > 0);
        if self.is_full {
            return false;
        }
        self.rows += 1;
        self.last = Some(job.id);
        self.jobs.push(job);
        true
    }

    /// As [`add`](Self::add), for one that is not shown.
    pub(crate) fn pass_over(&mut self, id: JobId) -> bool {
        self.is_full = self.rows == self.most;
        if !self.is_full {
            self.rows += 1;
            self.last = Some(id);
        }
        !self.is_full
    }

    pub(crate) fn end(self) -> Page {
        Page {
            jobs: self.jobs,
            next: self.last.filter(|_| self.is_full),
        }
    }
}

/// What a cancel request found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelRequested {
    /// It had not started: it is cancelled now.
    Cancelled,
    /// Its worker will be told by its next heartbeat.
    Cancelling,
    /// It had already ended this way.
    Ended(Status),
}

/// What a heartbeat found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseState {
    /// The lease, extended, or `None` when it was lost.
    pub lease: Option<Lease>,
    /// The job is to stop.
    pub cancel: bool,
}

/// Jobs by where they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting.
    pub pending: usize,
    /// Running or cancelling.
    pub running: usize,
    /// Completed, failed or cancelled.
    pub ended: usize,
}

/// Why a store refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No such job.
    #[error("job not found")]
    NotFound,
    /// Another worker claimed the job, or it ended, or it was given back: this worker must stop.
    #[error("the lease on job {0} was lost")]
    LeaseLost(JobId),
    /// [`SubmitOptions::max_pending`] was reached.
    #[error("the queue is full: {pending} jobs wait already; try again later")]
    QueueFull {
        /// Jobs that wait.
        pending: usize,
    },
    /// It cannot be deleted yet.
    #[error("job {0} is still active; cancel it first")]
    Active(JobId),
    /// A job that was not asked to stop cannot end as cancelled.
    #[error("job {0} was not asked to stop and cannot end as cancelled")]
    NotCancelling(JobId),
    /// The store itself failed; nothing was changed.
    #[error("the job store failed: {0}")]
    Unavailable(String),
}

/// A queue of jobs and their records. Each verb is atomic: it happens as a whole, before or after any other.
///
/// A verb has no default: every store says what it means there. Those that stand around another store do
/// so together, in [`forward`](crate::forward).
#[async_trait]
pub trait JobStore: Send + Sync + std::fmt::Debug {
    /// Stores a job; returns once it is as durable as this store makes it.
    async fn submit(&self, job: NewJob, options: SubmitOptions) -> Result<Submitted, Error>;

    /// Stores a job that has ended already, as [`submit`](Self::submit) with a claim and
    /// [`finish`](Self::finish) would have, in one commit: for a run so short that nobody had to be told of
    /// it before its end. An idempotency key is not looked for and not kept: whoever has one asks first.
    async fn submit_ended(
        &self,
        job: NewJob,
        by: &Claimant,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error>;

    /// Takes up to `limit` jobs that wait, oldest first, and jobs whose lease had lapsed by `now`.
    async fn claim(
        &self,
        by: &Claimant,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// As [`claim`](Self::claim), but among the jobs that wait each is the oldest of the workflow of which
    /// the fewest run: the number given in `running` (none: 0) and those taken by this call. So a workflow
    /// with a long queue does not keep the others waiting. A store that does not tell workflows apart goes
    /// by age alone.
    async fn claim_fairly(
        &self,
        by: &Claimant,
        limit: usize,
        running: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// Lets every lease lapse now, of jobs and of deliveries, and tells of how many jobs. For a process that knows that no other one uses
    /// the store, before it claims anything: whoever held those leases is dead. A store that may be shared
    /// does nothing; there leases lapse in their time.
    async fn release_leases(&self) -> Result<usize, Error>;

    /// Takes up to `limit` waiting jobs whose deadline had passed by `now`: to be ended, not run.
    async fn claim_overdue(
        &self,
        by: &Claimant,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// Extends leases to `lease_for` from `now`; answers for each, in order.
    async fn heartbeat(
        &self,
        leases: &[Lease],
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<LeaseState>, Error>;

    /// Saves events, and progress where there is some, together. Here and in `finish`, an event whose
    /// id is not above the last one stored has been stored before (by a call whose caller gave up on
    /// it) and is passed over.
    async fn checkpoint(
        &self,
        lease: &Lease,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<(), Error>;

    /// Ends a job, with its last events. Exactly one ending of a job ever succeeds. From then on its
    /// webhook is due; so it is from a cancel that ends a job.
    async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error>;

    /// Gives a job up unfinished, without spending an attempt (shutdown). It waits in its old place;
    /// one that is cancelling counts as lapsed instead, and the next to claim it ends it.
    async fn hand_back(&self, lease: &Lease) -> Result<(), Error>;

    /// Asks for a job to stop.
    async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<CancelRequested, Error>;

    /// One job.
    async fn get(&self, id: JobId) -> Result<Option<Job>, Error>;

    /// What a job was to do and how far it came, also after its end: a retry starts from it.
    async fn workload(&self, id: JobId) -> Result<Option<Workload>, Error>;

    /// A definition that at least one stored job has.
    async fn definition(&self, hash: &str) -> Result<Option<Arc<Definition>>, Error>;

    /// Newest first, those older than `cursor`. Pages neither skip nor repeat while jobs come and go.
    async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error>;

    /// Up to `limit` stored events with an id above `after`, in order; none for a job that is not there.
    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error>;

    /// Takes deliveries that were due by `now`, the longest due first, as far as there is capacity. Each is
    /// given to nobody else until its lease lapses.
    async fn claim_deliveries(
        &self,
        capacity: &DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Error>;

    /// Says what became of a try. An older lease is refused, like that of a job that is not there.
    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        settlement: Settlement,
    ) -> Result<(), Error>;

    /// Where a job's end is told: a retry tells its own there, too.
    async fn webhook(&self, id: JobId) -> Result<Option<Webhook>, Error>;

    /// Forgets an ended job, and its webhook though that is not delivered. Its idempotency key stays
    /// used, here and where jobs expire: see [`expire_keys`](Self::expire_keys).
    async fn delete(&self, id: JobId) -> Result<(), Error>;

    /// Forgets up to `limit` jobs that ended before `before`, oldest end first; returns how many. Those
    /// whose webhook is not settled stay.
    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;

    /// Forgets up to `limit` ended jobs, oldest end first, until the store takes no more than
    /// `max_bytes`; returns how many. Those whose webhook is not settled go last. Where no job is left
    /// to go, idempotency keys of forgotten jobs do, the longest used first.
    async fn expire_over(&self, max_bytes: u64, limit: usize) -> Result<usize, Error>;

    /// Forgets up to `limit` idempotency keys of jobs that were forgotten, those used before that time,
    /// the longest ago first; returns how many. A key outlives its job until then.
    async fn expire_keys(&self, used_before: Timestamp, limit: usize) -> Result<usize, Error>;

    /// How many jobs there are.
    async fn counts(&self) -> Result<Counts, Error>;

    /// Whether the store answers (readiness).
    async fn ping(&self) -> Result<(), Error>;

    /// Whether jobs outlive the process: decides what a shutdown does with those that have not ended.
    fn is_durable(&self) -> bool;
}

/// Gives a job that waits or whose lease lapsed to a worker.
pub(crate) fn claim_job(job: &mut Job, token: u64, by: &Claimant, now: Timestamp) -> Option<Lease> {
    job.status = job.status.after(Transition::Claim)?;
    job.started_at.get_or_insert(now);
    job.attempts += 1;
    Some(Lease {
        job: job.id,
        token: token + 1,
        expires_at: later(now, by.lease_for),
    })
}

/// That much later; the end of time where that is beyond it.
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| at.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}
