//! The store's verbs. Written for several processes on one store: leases with heartbeats and fencing
//! tokens, no assumption that whoever submits a job also runs it. Times come from the caller.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::job::{Ending, Idempotency, Job, JobId, NewJob, Status};

/// What a worker holds while it runs a job. Every write through a lease checks its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Rises with every claim; an older one is refused.
    pub token: u64,
    /// When it lapses unless a heartbeat renews it.
    pub expires_at: Timestamp,
}

/// A job handed to a worker.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The record.
    pub job: Job,
    /// The right to write to it.
    pub lease: Lease,
    /// The engine's last saved progress (opaque).
    pub progress: Value,
}

/// What became of a submission.
#[derive(Debug)]
pub enum Submitted {
    /// It is stored. Claimed at once when asked for (`SubmitOptions::claim_for`).
    New(Option<Claimed>),
    /// The idempotency key was used for the same thing: that job.
    Existing(Box<Job>),
    /// The idempotency key was used for something else.
    KeyReused,
}

/// How to submit.
#[derive(Debug, Clone, Default)]
pub struct SubmitOptions {
    /// Claim in the same commit, for this worker and this long: a synchronous run needs no second trip.
    pub claim: Option<(String, Duration)>,
    /// Refuse when this many jobs are pending already.
    pub max_pending: Option<usize>,
}

/// One stored event; `data` is the event's JSON, `id` rises within the job.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// From 1.
    pub id: u64,
    /// `run_started`, …
    pub kind: String,
    /// The whole event.
    pub data: Value,
}

/// Which jobs to list: newest first.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Filter {
    pub workflow: Option<String>,
    pub status: Option<Status>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    pub owner: Option<String>,
}

/// A page of a listing. Rows carry no inputs, outputs or progress.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first.
    pub jobs: Vec<Job>,
    /// Where the next page begins, if there is one.
    pub next: Option<JobId>,
}

/// What a cancel request found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelRequested {
    /// It had not started: it is cancelled now.
    Cancelled,
    /// Its worker will be told.
    Cancelling,
    /// It had already ended this way.
    Ended(Status),
}

/// Why a store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such job.
    #[error("job not found")]
    NotFound,
    /// The lease lapsed and someone else has the job, or it ended.
    #[error("the lease on job {0} was lost")]
    LeaseLost(JobId),
    /// `max_pending` reached.
    #[error("the queue is full ({pending} jobs wait)")]
    QueueFull {
        /// Jobs that wait.
        pending: usize,
    },
    /// The job is active: it cannot be deleted.
    #[error("job {0} is still active")]
    Active(JobId),
    /// The store itself failed.
    #[error("the job store failed: {0}")]
    Unavailable(String),
}

/// Counts for readiness, metrics and back-pressure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub pending: usize,
    pub running: usize,
    pub ended: usize,
}

/// A durable queue and the records of its jobs.
#[async_trait]
pub trait JobStore: Send + Sync + std::fmt::Debug {
    /// Stores a job; returns once it is durable.
    async fn submit(&self, job: NewJob, options: SubmitOptions) -> Result<Submitted, Error>;
    /// Takes up to `limit` jobs that are pending or whose lease lapsed before `now`, oldest first.
    async fn claim(&self, worker: &str, limit: usize, lease_for: Duration, now: Timestamp) -> Result<Vec<Claimed>, Error>;
    /// Extends leases; tells of each whether it is still held and whether its job is to be cancelled.
    async fn heartbeat(&self, leases: &[Lease], lease_for: Duration, now: Timestamp) -> Result<Vec<LeaseState>, Error>;
    /// Saves progress and events together.
    async fn checkpoint(&self, lease: &Lease, progress: Option<Value>, events: Vec<StoredEvent>) -> Result<(), Error>;
    /// Ends a job, with its last events; exactly one ending ever succeeds. A cancel that was requested wins over nothing:
    /// the ending says what really happened.
    async fn finish(&self, lease: &Lease, ending: Ending, events: Vec<StoredEvent>) -> Result<Job, Error>;
    /// Puts a running job back in the queue without spending an attempt (shutdown).
    async fn hand_back(&self, lease: &Lease) -> Result<(), Error>;
    /// Asks for a job to stop.
    async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<CancelRequested, Error>;
    /// One job.
    async fn get(&self, id: JobId) -> Result<Option<Job>, Error>;
    /// The job an idempotency key was used for.
    async fn find_idempotent(&self, idempotency: &Idempotency) -> Result<Option<Job>, Error>;
    /// The last saved progress of a job, also after its end (a retry starts from it).
    async fn progress(&self, id: JobId) -> Result<Option<Value>, Error>;
    /// Newest first, from after `cursor`.
    async fn list(&self, filter: &Filter, cursor: Option<JobId>, limit: usize) -> Result<Page, Error>;
    /// Stored events after `after`.
    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error>;
    /// Forgets an ended job.
    async fn delete(&self, id: JobId) -> Result<(), Error>;
    /// Forgets jobs that ended before `before`, at most `limit`; returns how many.
    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;
    /// How many.
    async fn counts(&self) -> Result<Counts, Error>;
    /// Whether the store answers (readiness).
    async fn ping(&self) -> Result<(), Error>;
}

/// What a heartbeat found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseState {
    /// The lease, extended, or `None` when it was lost.
    pub lease: Option<Lease>,
    /// A cancel was requested.
    pub cancel: bool,
}
