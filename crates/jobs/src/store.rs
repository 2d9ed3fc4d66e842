//! The store's verbs. Written for several processes on one store: leases of replicas, fencing, no
//! assumption that the process that accepts a job also runs it.
//!
//! **Clocks.** A store judges leases, deadlines and ages by one clock. A store that one process has to
//! itself judges by the `now` of its caller; a shared one by its own clock, and ignores `now`, since
//! the clocks of its callers differ.
//!
//! **Lost answers.** Over a network an answer can be lost after the change was made:
//! [`Error::Unavailable`] means that it is not known whether that happened. So every verb can be
//! repeated with the same arguments, and then changes nothing more and answers as it did, except
//! where its description says what the second answer is. Claims differ: the jobs of a claim whose
//! answer was lost are found by the next [`beat`](JobStore::beat).
//!
//! `tests/it/conformance.rs` is what every store must pass.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::job::{Definition, Ending, Job, JobId, NewJob, Status, Transition, Workload};
use crate::json::Json;
pub(crate) use crate::listing::PageInProgress;
pub use crate::listing::{Filter, PAGE_BYTES, Page};
use crate::parking::{Parked, Wait, WakeUp, Woken};
pub use crate::replica::{Beat, Lease, Renewal, Replica, ReplicaId, ReplicaState};
use crate::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};

/// How long an `Idempotency-Key` is remembered, whatever becomes of its job.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Most events kept per job; beyond it the oldest are dropped, and a replay begins with the oldest
/// that is left.
pub const MAX_EVENTS: usize = 10_000;

/// Kind of the events that show progress of a run: the count of starts without progress begins
/// anew.
pub const PROGRESS_EVENT: &str = "node_completed";

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
    /// The job had lapsed: the replica before is gone, with everything it had in flight.
    pub was_lost: bool,
    /// All that have woken it so far, in the order of their times.
    pub wake_ups: Vec<WakeUp>,
}

/// How to submit.
#[derive(Debug, Clone, Default)]
pub struct SubmitOptions {
    /// Claims the job in the same commit, for a run that starts at once. It is not checked whether
    /// the replica is alive: if it is not, the job has lapsed.
    pub claim: Option<ReplicaId>,
    /// Refuses the job if this many are queued already. Does not apply to a job that is claimed at
    /// once. Replicas of a shared store may exceed it by what they submit at the same moment.
    pub max_pending: Option<usize>,
    /// What the job's owner may have at once, counted in the job's own transaction.
    pub owner_limits: OwnerLimits,
}

/// How many unfinished jobs one owner may have at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnerLimits {
    /// Jobs that have not ended.
    pub max_running: Option<u32>,
    /// Those of them that are queued or parked. Does not apply to a job that is claimed at once.
    pub max_queued: Option<u32>,
}

impl OwnerLimits {
    /// Refuses one more job where the owner has these already.
    pub(crate) fn admit(&self, owned: Unfinished, is_queued: bool) -> Result<(), Error> {
        let reached = |most: Option<u32>, jobs: usize| most.filter(|most| jobs >= *most as usize);
        if let Some(most) = reached(self.max_running, owned.running + owned.queued) {
            let is_queue = false;
            return Err(Error::OwnerLimited { is_queue, most });
        }
        match reached(self.max_queued, owned.queued).filter(|_| is_queued) {
            Some(most) => Err(Error::OwnerLimited {
                is_queue: true,
                most,
            }),
            None => Ok(()),
        }
    }
}

/// How many jobs of an owner have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Running or cancelling.
    pub running: usize,
    /// Queued or parked.
    pub queued: usize,
}

impl Unfinished {
    pub(crate) fn count(&mut self, status: Status, jobs: usize) {
        match status {
            Status::Running | Status::Cancelling => self.running += jobs,
            Status::Pending | Status::Waiting => self.queued += jobs,
            Status::Completed | Status::Failed | Status::Cancelled => {}
        }
    }
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

/// The result of a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelRequested {
    /// The job was queued or parked, and is cancelled now.
    Cancelled,
    /// The job is running; its replica learns of it by [`JobStore::cancelling`].
    Cancelling,
    /// The job had already ended with this status.
    Ended(Status),
}

/// What has happened to a job since some event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The status of the job. It was read before the events: if it is final, none follows these
    /// unless there are as many as asked for.
    pub status: Status,
    /// In order.
    pub events: Vec<StoredEvent>,
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
    /// Another claim of the job was made, or it has ended, or was handed back or parked: this run of
    /// it must stop.
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
    /// [`OwnerLimits`] were reached.
    #[error("the owner of the job has {most} unfinished jobs already")]
    OwnerLimited {
        /// Whether it is the limit of queued jobs.
        is_queue: bool,
        /// The limit.
        most: u32,
    },
    /// The replica was declared dead, or is not registered: it must stop all its runs.
    #[error("the replica {0} was declared dead")]
    Fenced(ReplicaId),
    /// [`MAX_WAKE_UPS`](crate::parking::MAX_WAKE_UPS) was reached.
    #[error("job {0} has been woken too often and takes no further wake-up")]
    TooManyWakeUps(JobId),
    /// The store failed or did not answer. It is not known whether the change was made, unless only
    /// one process has the store: then nothing was changed.
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
    /// it before its end. Idempotency keys are neither looked up nor kept, and limits of owners are
    /// not looked at; a caller with either uses `submit`.
    async fn submit_ended(
        &self,
        job: NewJob,
        by: ReplicaId,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error>;

    /// Takes up to `limit` jobs that have lapsed and jobs from the queue, oldest first. Replicas whose
    /// lease had ended by `now` are declared dead first, and parked jobs whose time to wake had come
    /// by `now` enter the queue. A replica that is not alive claims nothing, and no replica claims a
    /// job of a higher level than its own.
    async fn claim(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// As [`claim`](Self::claim), but each job from the queue is the oldest of the workflow with
    /// the fewest runs: those counted in `running` (0 if absent) and those claimed by this call. So
    /// a workflow with a long queue does not keep the others waiting. A shared store counts the runs
    /// of all replicas itself and ignores `running`.
    async fn claim_fairly(
        &self,
        by: ReplicaId,
        limit: usize,
        running: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// Declares every replica dead, and lets the leases of deliveries end; returns the number of jobs
    /// that have lapsed by that. For a process that has the store to itself, before it registers: the
    /// holders of those leases are dead. A shared store does nothing; there leases end in their time.
    async fn release_leases(&self) -> Result<usize, Error>;

    /// Registers a replica: its lease begins.
    async fn register(&self, replica: &Replica, now: Timestamp) -> Result<(), Error>;

    /// Extends the lease of a replica, and tells it about its jobs. A replica whose lease has ended is
    /// still alive until it is declared dead; then this fails with [`Error::Fenced`].
    async fn beat(
        &self,
        by: ReplicaId,
        renewal: Renewal<'_>,
        now: Timestamp,
    ) -> Result<Beat, Error>;

    /// A replica leaves: what it still holds has lapsed.
    async fn deregister(&self, id: ReplicaId) -> Result<(), Error>;

    /// The replicas that are alive, those registered first coming first.
    async fn replicas(&self) -> Result<Vec<ReplicaState>, Error>;

    /// The jobs of a replica that were asked to stop.
    async fn cancelling(&self, by: ReplicaId) -> Result<Vec<JobId>, Error>;

    /// Takes up to `limit` jobs that are queued or parked and whose deadline had passed by `now`:
    /// to be ended, not run.
    async fn claim_overdue(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// Saves events and, if given, progress in one commit. Here, in `park` and in `finish`, an
    /// event whose id is not above the last stored one has been stored before, by a call whose
    /// caller gave up on it, and is ignored.
    async fn checkpoint(
        &self,
        lease: &Lease,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<(), Error>;

    /// Ends a job, with its last events. Exactly one ending of a job ever succeeds; repeated under
    /// the same lease, this returns the job as that ending left it. From then on its webhook is due,
    /// as it is after a cancel that ends a job.
    async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error>;

    /// Hands an unfinished job back without spending an attempt (shutdown). It returns to its old
    /// place in the queue. If it was asked to stop, it lapses instead, and the replica that claims it
    /// next ends it. Repeated, it fails with [`Error::LeaseLost`].
    async fn hand_back(&self, lease: &Lease) -> Result<(), Error>;

    /// Parks a job: saves as [`checkpoint`](Self::checkpoint) does, ends the lease, and lets the
    /// job wait until it is woken or its time comes. Parking spends no attempt, and the job keeps
    /// its place among the jobs by age. Repeated, it fails with [`Error::LeaseLost`].
    async fn park(
        &self,
        lease: &Lease,
        wait: Wait,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<Parked, Error>;

    /// Tells a job that something has happened. One that waits enters the queue; no limit of the
    /// queue holds it up, since it was accepted before. Repeated, the answer is [`Woken::Known`].
    async fn wake(&self, id: JobId, wake_up: WakeUp) -> Result<Woken, Error>;

    /// What a job waits for, while it is parked.
    async fn waits_for(&self, id: JobId) -> Result<Option<Wait>, Error>;

    /// Asks for a job to stop. One that is queued or parked ends at once; repeated, the answer is that
    /// it has ended.
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

    /// Returns what has happened to each job since that event: up to `limit` events for each, in the
    /// order of the positions; `None` for an unknown job. One call for all who watch.
    async fn tails(
        &self,
        positions: &[(JobId, u64)],
        limit: usize,
    ) -> Result<Vec<Option<Tail>>, Error>;

    /// Claims deliveries that were due by `now`, the longest due first, as far as the capacity
    /// goes. Nobody else can claim them until their lease lapses.
    async fn claim_deliveries(
        &self,
        capacity: &DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Error>;

    /// Records the result of a try, at `now`. An older lease is refused, like one of an unknown job
    /// and one whose try was settled before.
    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Returns the webhook of a job: a retry of the job has the same.
    async fn webhook(&self, id: JobId) -> Result<Option<Webhook>, Error>;

    /// Deletes an ended job and its webhook, even if that has not been delivered; repeated, it fails
    /// with [`Error::NotFound`]. The idempotency key of the job stays used, as it does when jobs
    /// expire: see [`expire_keys`](Self::expire_keys).
    async fn delete(&self, id: JobId) -> Result<(), Error>;

    /// Deletes up to `limit` jobs that ended more than `kept_for` before `now`, oldest end first;
    /// returns how many. Jobs whose webhook is not settled stay.
    async fn expire(
        &self,
        kept_for: Duration,
        limit: usize,
        now: Timestamp,
    ) -> Result<usize, Error>;

    /// Deletes up to `limit` ended jobs, oldest end first, until the store takes no more than
    /// `max_bytes`; returns how many. Jobs whose webhook is not settled go last. If no ended job is
    /// left, idempotency keys of deleted jobs go, those used longest ago first.
    async fn expire_over(&self, max_bytes: u64, limit: usize) -> Result<usize, Error>;

    /// Deletes up to `limit` idempotency keys of deleted jobs that were used more than
    /// [`IDEMPOTENCY_KEPT`] before `now`, the longest ago first; returns how many. A key outlives its
    /// job until then.
    async fn expire_keys(&self, limit: usize, now: Timestamp) -> Result<usize, Error>;

    /// Counts the jobs.
    async fn counts(&self) -> Result<Counts, Error>;

    /// Counts the unfinished jobs of that owner, or of each; none of owners that have none.
    async fn unfinished(
        &self,
        owner: Option<&str>,
    ) -> Result<BTreeMap<Arc<str>, Unfinished>, Error>;

    /// Fails if the store cannot be read and written (readiness).
    async fn ping(&self) -> Result<(), Error>;

    /// Whether jobs outlive the process. A shutdown cancels unfinished jobs that do not.
    fn is_durable(&self) -> bool;

    /// Whether other processes may use the same jobs at the same time.
    fn is_shared(&self) -> bool;
}

/// Gives a job that is queued or parked, or has lapsed, to a replica.
pub(crate) fn claim_job(job: &mut Job, token: u64, by: ReplicaId, now: Timestamp) -> Option<Lease> {
    job.status = job.status.after(Transition::Claim)?;
    job.started_at.get_or_insert(now);
    job.attempts += 1;
    Some(Lease {
        job: job.id,
        token: token + 1,
        replica: by,
    })
}

/// The time that much later, or the greatest timestamp.
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| at.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

/// The time that much earlier, or the least timestamp.
pub(crate) fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| at.checked_sub(by).ok())
        .unwrap_or(Timestamp::MIN)
}
