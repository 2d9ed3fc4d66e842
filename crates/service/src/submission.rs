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
    /// Integers of the body that did not fit 64 bits, which are rounded in `inputs`. Each is a fault
    /// unless the workflow has no use for the value or has a fault of its own to report there.
    pub large_integers: Option<LargeIntegers>,
    /// The caller's own labels.
    pub metadata: Option<Map<String, Value>>,
    /// From acceptance.
    pub deadline: Option<Duration>,
    /// Over the workflow's own.
    pub budget: Budget,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Whose job it is, where keys are in use.
    pub owner: Option<Arc<str>>,
    /// Ask models to stream.
    pub stream: bool,
    /// Where the run comes from; kept only where telemetry asks for it.
    pub origin: Origin,
    /// Where its end is told; `None`: where the server itself is set up to.
    pub webhook: Option<Webhook>,
}

/// Why a run was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The inputs do not fit (422).
    #[error("the inputs do not fit")]
    Inputs(Vec<Fault>),
    /// The workflow cannot run here (not supported, model not set up).
    #[error("{}", .0.message)]
    Preflight(Failure),
    /// The idempotency key was used for the same request, and its job has been forgotten since (410).
    #[error("the job of the idempotency key has been forgotten")]
    Forgotten {
        /// The job that there was.
        job: JobId,
        /// How it ended.
        status: Status,
    },
    /// The idempotency key was used with other inputs (422).
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// A limit of whoever asks is reached (429).
    #[error(transparent)]
    Limited(#[from] Exceeded),
    /// The queue is full (503).
    #[error("too many runs are waiting; try again later")]
    QueueFull,
    /// Shutting down (503).
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
            other => Self::Store(other),
        }
    }
}

/// A handle to an accepted run.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Durable already.
    pub id: JobId,
    /// An earlier request's job was found by its idempotency key.
    pub replayed: bool,
    /// How the earlier request's job has ended, where it has.
    pub ended: Option<Status>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Where the run is here: its end is told even if the store forgets it at once.
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

    /// What is known of its end: nothing where it has none yet, or where the store does not answer. The
    /// run was accepted, so its handle is good in any case.
    pub(crate) fn end_of(&self, found: Result<Option<Job>, Error>) -> Option<Job> {
        match found {
            Ok(job) => job.filter(|job| job.status.is_final()),
            Err(error) => {
                tracing::error!(job = %self.id, %error, "a client that waits for its run gets a handle: the store does not answer");
                None
            }
        }
    }
}

/// Tells the client that asked for a run what became of its request.
pub(crate) type Reply = oneshot::Sender<Result<Accepted, SubmitError>>;
