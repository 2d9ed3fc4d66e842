//! Submit, wait, inspect, cancel. (Signatures are a starting point for the crate's owner.)

use std::time::Duration;

use engine::outcome::Failure;
use jiff::Timestamp;
use jobs::job::JobId;
use lang::fault::Fault;
use lang::workflow::Budget;
use serde_json::{Map, Value};

/// What a caller asks for.
#[derive(Debug, Default)]
pub struct RunRequest {
    /// The inputs, not yet checked.
    pub inputs: Map<String, Value>,
    /// Integers of the body that did not fit 64 bits are faults too; found while reading it.
    pub body_faults: Vec<Fault>,
    /// The caller's own labels.
    pub metadata: Option<Map<String, Value>>,
    /// From acceptance.
    pub deadline: Option<Duration>,
    /// Over the workflow's own.
    pub budget: Budget,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Ask models to stream.
    pub stream: bool,
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
    /// The idempotency key was used with other inputs (422).
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The queue is full (503).
    #[error("too many runs are waiting")]
    QueueFull,
    /// Shutting down (503).
    #[error("the server is shutting down")]
    Draining,
    /// The store failed (503).
    #[error(transparent)]
    Store(#[from] jobs::store::Error),
}

/// What a client sees of a job (`GET /status/{id}`).
pub type JobView = jobs::job::Job;

/// A handle to an accepted run.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Durable already.
    pub id: JobId,
    /// An earlier request's job was found by its idempotency key.
    pub replayed: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
}
