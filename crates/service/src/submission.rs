//! What is asked for with a run, and what its client is answered.

use std::sync::Arc;
use std::time::Duration;

use engine::outcome::Failure;
use engine::watch::Origin;
use jiff::Timestamp;
use jobs::job::{Job, JobId, Status};
use jobs::store::Error;
use jobs::webhook::Webhook;
use lang::fault::Fault;
use lang::json::LargeIntegers;
use lang::workflow::Budget;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::limits::Exceeded;
use crate::live::LiveRun;

/// What a caller asks for.
#[derive(Debug, Default)]
pub struct RunRequest {
    /// The inputs, not yet checked.
    pub inputs: Map<String, Value>,
    /// Integers of the body that did not fit 64 bits, which are rounded in `inputs`. Each is a
    /// fault unless the workflow has no use for the value or has a fault of its own to report
    /// there.
    pub large_integers: Option<LargeIntegers>,
    /// The caller's own labels.
    pub metadata: Option<Map<String, Value>>,
    /// How long after its acceptance the run must have ended.
    pub deadline: Option<Duration>,
    /// Limits that replace the workflow's own.
    pub budget: Budget,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The key that the job belongs to, where keys are in use.
    pub owner: Option<Arc<str>>,
    /// Whether models are asked to stream.
    pub stream: bool,
    /// Where the request comes from; kept only where telemetry asks for it.
    pub origin: Origin,
    /// The webhook of the job; `None` for the server's default.
    pub webhook: Option<Webhook>,
}

/// Why a run was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The inputs are invalid (422).
    #[error("the inputs do not fit")]
    Inputs(Vec<Fault>),
    /// The workflow cannot run here: something is not supported, or a model is not set up.
    #[error("{}", .0.message)]
    Preflight(Failure),
    /// The idempotency key was used for the same request, whose job has been removed since (410).
    #[error("the job of the idempotency key has been forgotten")]
    Forgotten {
        /// The removed job.
        job: JobId,
        /// How it ended.
        status: Status,
    },
    /// The idempotency key was used with other inputs (422).
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The client has reached a limit (429).
    #[error(transparent)]
    Limited(#[from] Exceeded),
    /// The queue is full (503).
    #[error("too many runs are waiting; try again later")]
    QueueFull,
    /// The server is shutting down (503).
    #[error("the server is shutting down")]
    Draining,
    /// The store failed (503).
    #[error(transparent)]
    Store(Error),
}

impl From<Error> for SubmitError {
    fn from(error: Error) -> Self {
        match error {
            Error::QueueFull { .. } => Self::QueueFull,
            Error::OwnerLimited { is_queue, most } => {
                Self::Limited(Exceeded::by_jobs(is_queue, most))
            }
            other => Self::Store(other),
        }
    }
}

/// A handle to an accepted run.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The job, which is stored.
    pub id: JobId,
    /// An earlier request's job was found by its idempotency key.
    pub replayed: bool,
    /// How the earlier request's job has ended, where it has.
    pub ended: Option<Status>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The run, where it is here: then its end is known even if the store removes it at once.
    pub(crate) run: Option<Arc<LiveRun>>,
}

impl Accepted {
    /// Of a job that is new.
    pub(crate) fn new(id: JobId, created_at: Timestamp, run: Option<Arc<LiveRun>>) -> Self {
        Self {
            id,
            replayed: false,
            ended: None,
            created_at,
            run,
        }
    }

    /// The ended job, or `None` where it has not ended or the store does not answer. The run was
    /// accepted, so its handle is valid in any case.
    pub(crate) fn end_of(&self, found: Result<Option<Job>, Error>) -> Option<Job> {
        match found {
            Ok(job) => job.filter(|job| job.status.is_final()),
            Err(error) => {
                tracing::error!(job = %self.id, %error, "cannot read the end of a run; its client gets a handle instead");
                None
            }
        }
    }
}

/// Tells the client that asked for a run what became of its request.
pub(crate) type Reply = oneshot::Sender<Result<Accepted, SubmitError>>;
