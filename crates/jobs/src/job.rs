//! A job, its states, and the transitions between them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// UUIDv7; sorts by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub uuid::Uuid);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a job stands. Legal moves: pending → running | cancelled | failed; running → pending (handed
/// back) | completed | failed | cancelling; cancelling → cancelled | completed | failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Status { Pending, Running, Cancelling, Completed, Failed, Cancelled }

impl Status {
    /// Completed, failed or cancelled: never changes again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A job as it is asked for.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Fresh.
    pub id: JobId,
    /// The workflow's name.
    pub workflow: String,
    /// Pins its definition.
    pub definition_hash: String,
    /// Validated inputs, as the caller sees them.
    pub inputs: Value,
    /// The engine's starting point (opaque).
    pub progress: Value,
    /// The caller's own labels.
    pub metadata: Option<Map<String, Value>>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it must have ended.
    pub deadline: Option<Timestamp>,
    /// Per-job budget (opaque).
    pub budget: Option<Value>,
    /// The key that made it, where keys are in use.
    pub owner: Option<String>,
    /// Where to tell of its end (opaque).
    pub webhook: Option<Value>,
    /// The job this one repeats.
    pub retried_from: Option<JobId>,
    /// Deduplication.
    pub idempotency: Option<Idempotency>,
}

/// An `Idempotency-Key` and what it was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// API key and workflow.
    pub scope: String,
    /// The client's key.
    pub key: String,
    /// Of the validated inputs and the workflow's version.
    pub fingerprint: String,
}

/// A stored job.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as in `NewJob`")]
pub struct Job {
    pub id: JobId,
    pub workflow: String,
    pub definition_hash: String,
    pub status: Status,
    pub inputs: Value,
    pub metadata: Option<Map<String, Value>>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub execution_time_ms: Option<u64>,
    /// The whole final state, once completed.
    pub outputs: Option<Value>,
    /// One sentence, once failed.
    pub error: Option<String>,
    /// RFC 9457 members, once failed.
    pub problem: Option<Value>,
    /// `engine::outcome::Usage` (opaque here).
    pub usage: Option<Value>,
    pub deadline: Option<Timestamp>,
    pub budget: Option<Value>,
    pub owner: Option<String>,
    pub webhook: Option<Value>,
    pub retried_from: Option<JobId>,
    /// Times it was claimed.
    pub attempts: u32,
}

/// How a job ends.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Completed, failed or cancelled.
    pub status: Status,
    /// Present when completed.
    pub outputs: Option<Value>,
    /// Present when failed.
    pub error: Option<String>,
    /// Present when failed.
    pub problem: Option<Value>,
    /// What it took.
    pub usage: Option<Value>,
    /// Wall time.
    pub execution_time_ms: u64,
    /// When.
    pub at: Timestamp,
}
