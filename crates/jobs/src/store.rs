//! The store's verbs. Written for several processes on one store: leases with heartbeats and
//! fencing tokens, no assumption that whoever submits a job also runs it. Times come from the
//! caller.
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
use crate::parking::{Parked, Wait, WakeUp, Woken};
use crate::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};

/// How long an `Idempotency-Key` is remembered, whatever becomes of its job.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Most events kept per job; beyond it the oldest are dropped, and a replay begins with the oldest
/// that is left.
pub const MAX_EVENTS: usize = 10_000;

/// Kind of the events that show progress of a run: the count of starts without progress begins
/// anew.
pub const PROGRESS_EVENT: &str = "node_completed";

/// What a worker holds while it runs a job. Every write through a lease checks its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The leased job.
    pub job: JobId,
    /// Fencing token: rises with every claim of the job, and writes with an older one are refused.
    pub token: u64,
    /// From when on another worker may take the job. Until one does, a heartbeat still renews it.
    pub expires_at: Timestamp,
}

/// Who claims jobs, and for how long without a heartbeat.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// Name of the process, for people who look into the store.
    pub worker: Arc<str>,
    /// Duration of the lease from the claim on.
    pub lease_for: Duration,
}

/// A job handed to a worker.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The record. Its status is `Running`, or `Cancelling` if the worker only has to end it.
    pub job: Job,
    /// Grants the right to write to the job.
    pub lease: Lease,
    /// What the worker needs to run it, with the progress saved last.
    pub workload: Workload,
    /// Id of the last stored event; 0 if there is none.
    pub last_event: u64,
    /// Claims since the run last made progress or was parked, this one included and those that were
    /// handed back excluded.
    pub starts: u32,
    /// The lease of the worker before has lapsed: that worker is gone, with everything it had in
    /// flight.
    pub was_lost: bool,
    /// All that have woken it so far, in the order of their times.
    pub wake_ups: Vec<WakeUp>,
}

/// How to submit.
#[derive(Debug, Clone, Default)]
pub struct SubmitOptions {
    /// Claims the job in the same commit, for a run that starts at once.
    pub claim: Option<Claimant>,
    /// Refuses the job if this many are queued already. Does not apply to a job that is claimed at
    /// once.
    pub max_pending: Option<usize>,
}

/// The result of a submission.
#[derive(Debug)]
pub enum Submitted {
    /// The job is stored, and claimed if [`SubmitOptions::claim`] asked for it.
    New(Option<Box<Claimed>>),
    /// The idempotency key was used for the same request before; this is its job. Nothing was
    /// stored.
    Existing(Box<Job>),
    /// The idempotency key was used for the same request before, and its job has been deleted
    /// since. Nothing was stored.
    Forgotten {
        /// Id of the deleted job.
        job: JobId,
        /// How it ended.
        status: Status,
    },
    /// The idempotency key was used for another request. Nothing was stored.
    KeyReused,
}

/// One stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Above 0, and rising within the job.
    pub id: u64,
    /// `run_started`, …
    pub kind: Cow<'static, str>,
    /// The whole event as JSON.
    pub data: Json,
}

/// Which jobs to list: those that meet all conditions.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only jobs of this workflow.
    pub workflow: Option<String>,
    /// Only jobs of this status.
    pub status: Option<Status>,
    /// Only jobs accepted later than this.
    pub created_after: Option<Timestamp>,
    /// Only jobs accepted earlier than this.
    pub created_before: Option<Timestamp>,
    /// Only jobs that this API key submitted.
    pub owner: Option<String>,
    /// Only jobs of one of these workflows.
    pub workflows: Option<BTreeSet<String>>,
}

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first, without outputs. Not more than asked for, and not more than fit into
    /// [`PAGE_BYTES`], but at least one if there is one.
    pub jobs: Vec<Job>,
    /// The cursor of the next page if there is one: the last id of this page.
    pub next: Option<JobId>,
}

/// Most bytes that the labels, problems and usage of a page's jobs take together.
pub const PAGE_BYTES: usize = 1 << 20;

/// A page that is being filled, newest job first.
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

    /// Adds a job if it fits; otherwise the page is full and another one follows.
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

    /// As [`add`](Self::add), for a job that is left out of the page.
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

/// The result of a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelRequested {
    /// The job was queued or parked, and is cancelled now.
    Cancelled,
    /// The job is running; its worker learns of it with its next heartbeat.
    Cancelling,
    /// The job had already ended with this status.
    Ended(Status),
}

/// The result of a heartbeat for one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseState {
    /// The extended lease, or `None` if it was lost.
    pub lease: Option<Lease>,
    /// Somebody asked the job to stop.
    pub cancel: bool,
}

/// Numbers of jobs by their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the queue.
    pub pending: usize,
    /// Parked.
    pub waiting: usize,
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
    /// Another worker has claimed the job, or it has ended, or was handed back or parked: this
    /// worker must stop.
    #[error("the lease on job {0} was lost")]
    LeaseLost(JobId),
    /// [`SubmitOptions::max_pending`] was reached.
    #[error("the queue is full: {pending} jobs are waiting already; try again later")]
    QueueFull {
        /// Jobs in the queue.
        pending: usize,
    },
    /// A job that has not ended cannot be deleted.
    #[error("job {0} is still active; cancel it first")]
    Active(JobId),
    /// A job that was not asked to stop cannot end as cancelled.
    #[error("job {0} was not asked to stop and cannot end as cancelled")]
    NotCancelling(JobId),
    /// [`MAX_WAKE_UPS`](crate::parking::MAX_WAKE_UPS) was reached.
    #[error("job {0} has been woken too often and takes no further wake-up")]
    TooManyWakeUps(JobId),
    /// The store itself failed; nothing was changed.
    #[error("the job store failed: {0}")]
    Unavailable(String),
}

/// A queue of jobs and their records. Each verb is atomic: it happens as a whole, before or after
/// any other.
///
/// No verb has a default: every store defines what it means there. Stores around other stores forward
/// all verbs by one table, in [`forward`](crate::forward).
#[async_trait]
pub trait JobStore: Send + Sync + std::fmt::Debug {
    /// Stores a job; returns once it is as durable as this store can make it.
    async fn submit(&self, job: NewJob, options: SubmitOptions) -> Result<Submitted, Error>;

    /// Stores a job that has already ended, in one commit, as [`submit`](Self::submit) with a claim
    /// and [`finish`](Self::finish) would: for a run that is so short that nobody had to learn of
    /// it before its end. Idempotency keys are neither looked up nor kept; a caller with a key uses
    /// `submit`.
    async fn submit_ended(
        &self,
        job: NewJob,
        by: &Claimant,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error>;

    /// Takes up to `limit` jobs from the queue, oldest first, and jobs whose lease had lapsed by
    /// `now`. Parked jobs whose time to wake had come by `now` enter the queue first.
    async fn claim(
        &self,
        by: &Claimant,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// As [`claim`](Self::claim), but each job from the queue is the oldest of the workflow with
    /// the fewest runs: those counted in `running` (0 if absent) and those claimed by this call. So
    /// a workflow with a long queue does not keep the others waiting. A store that does not
    /// distinguish workflows goes by age alone.
    async fn claim_fairly(
        &self,
        by: &Claimant,
        limit: usize,
        running: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// Lets the leases of all jobs and deliveries lapse now; returns the number of jobs. For a
    /// process that has the store to itself, before it claims anything: the holders of those leases
    /// are dead. A store that may be shared does nothing; there leases lapse in their time.
    async fn release_leases(&self) -> Result<usize, Error>;

    /// Takes up to `limit` jobs that are queued or parked and whose deadline had passed by `now`:
    /// to be ended, not run.
    async fn claim_overdue(
        &self,
        by: &Claimant,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// Extends leases to `lease_for` from `now`; the results are in the order of the leases.
    async fn heartbeat(
        &self,
        leases: &[Lease],
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<LeaseState>, Error>;

    /// Saves events and, if given, progress in one commit. Here, in `park` and in `finish`, an
    /// event whose id is not above the last stored one has been stored before, by a call whose
    /// caller gave up on it, and is ignored.
    async fn checkpoint(
        &self,
        lease: &Lease,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<(), Error>;

    /// Ends a job, with its last events. Exactly one ending of a job ever succeeds. From then on
    /// its webhook is due, as it is after a cancel that ends a job.
    async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error>;

    /// Hands an unfinished job back without spending an attempt (shutdown). It returns to its old
    /// place in the queue. If it was asked to stop, its lease lapses instead, and the next worker
    /// ends it.
    async fn hand_back(&self, lease: &Lease) -> Result<(), Error>;

    /// Parks a job: saves as [`checkpoint`](Self::checkpoint) does, ends the lease, and lets the
    /// job wait until it is woken or its time comes. Parking spends no attempt, and the job keeps
    /// its place among the jobs by age.
    async fn park(
        &self,
        lease: &Lease,
        wait: Wait,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<Parked, Error>;

    /// Tells a job that something has happened. One that waits enters the queue; no limit of the
    /// queue holds it up, since it was accepted before.
    async fn wake(&self, id: JobId, wake_up: WakeUp) -> Result<Woken, Error>;

    /// What a job waits for, while it is parked.
    async fn waits_for(&self, id: JobId) -> Result<Option<Wait>, Error>;

    /// Asks for a job to stop. One that is queued or parked ends at once.
    async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<CancelRequested, Error>;

    /// Returns a job.
    async fn get(&self, id: JobId) -> Result<Option<Job>, Error>;

    /// Returns what a job's worker needs, with the progress saved last. Also after the job's end: a
    /// retry starts from it.
    async fn workload(&self, id: JobId) -> Result<Option<Workload>, Error>;

    /// Returns a definition, as long as at least one stored job has it.
    async fn definition(&self, hash: &str) -> Result<Option<Arc<Definition>>, Error>;

    /// Lists jobs older than `cursor`, newest first. Pages neither skip nor repeat jobs while
    /// others come and go.
    async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error>;

    /// Returns up to `limit` stored events with an id above `after`, in order; none for an unknown
    /// job.
    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error>;

    /// Claims deliveries that were due by `now`, the longest due first, as far as the capacity
    /// goes. Nobody else can claim them until their lease lapses.
    async fn claim_deliveries(
        &self,
        capacity: &DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Error>;

    /// Records the result of a try. An older lease is refused, like one of an unknown job.
    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        settlement: Settlement,
    ) -> Result<(), Error>;

    /// Returns the webhook of a job: a retry of the job has the same.
    async fn webhook(&self, id: JobId) -> Result<Option<Webhook>, Error>;

    /// Deletes an ended job and its webhook, even if that has not been delivered. Its idempotency
    /// key stays used, as it does when jobs expire: see [`expire_keys`](Self::expire_keys).
    async fn delete(&self, id: JobId) -> Result<(), Error>;

    /// Deletes up to `limit` jobs that ended before `before`, oldest end first; returns how many.
    /// Jobs whose webhook is not settled stay.
    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;

    /// Deletes up to `limit` ended jobs, oldest end first, until the store takes no more than
    /// `max_bytes`; returns how many. Jobs whose webhook is not settled go last. If no ended job is
    /// left, idempotency keys of deleted jobs go, those used longest ago first.
    async fn expire_over(&self, max_bytes: u64, limit: usize) -> Result<usize, Error>;

    /// Deletes up to `limit` idempotency keys of deleted jobs that were used before that time, the
    /// longest ago first; returns how many. A key outlives its job until then.
    async fn expire_keys(&self, used_before: Timestamp, limit: usize) -> Result<usize, Error>;

    /// Counts the jobs.
    async fn counts(&self) -> Result<Counts, Error>;

    /// Fails if the store cannot be read and written (readiness).
    async fn ping(&self) -> Result<(), Error>;

    /// Whether jobs outlive the process. A shutdown cancels unfinished jobs that do not.
    fn is_durable(&self) -> bool;
}

/// Gives a job that is queued or parked, or whose lease lapsed, to a worker.
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

/// The time that much later, or the greatest timestamp.
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| at.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}
