//! A job, its states, and the transitions between them.

use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::webhook::{Delivery, Webhook};

/// A UUID of version 7: sorts by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub uuid::Uuid);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Where a job stands. The legal moves are those of [`Status::after`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a worker.
    Pending,
    /// A worker holds its lease.
    Running,
    /// As `Running`, and it was asked to stop.
    Cancelling,
    /// Ended with outputs.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended because it was asked to.
    Cancelled,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// A worker takes it: one that waits, or one whose worker let its lease lapse.
    Claim,
    /// Its worker gives it up unfinished.
    HandBack,
    /// Somebody asks it to stop.
    RequestCancel,
    /// Its worker says how it ended.
    End(End),
}

/// The ways a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `Status`")]
pub enum End {
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    /// Completed, failed or cancelled: never changes again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The status after a transition; `None` where it is not legal.
    ///
    /// A job that runs ends as cancelled only after somebody asked for it, and one that was asked to
    /// stop may still complete: its end says what really happened. It never waits in the queue again
    /// (whoever claims it next has to end it).
    pub fn after(self, transition: Transition) -> Option<Self> {
        match (self, transition) {
            (Self::Pending | Self::Running, Transition::Claim) => Some(Self::Running),
            (Self::Running, Transition::HandBack) => Some(Self::Pending),
            (Self::Pending, Transition::RequestCancel)
            | (Self::Cancelling, Transition::End(End::Cancelled)) => Some(Self::Cancelled),
            (Self::Running | Self::Cancelling, Transition::RequestCancel)
            | (Self::Cancelling, Transition::Claim | Transition::HandBack) => {
                Some(Self::Cancelling)
            }
            (Self::Running | Self::Cancelling, Transition::End(End::Completed)) => {
                Some(Self::Completed)
            }
            (Self::Running | Self::Cancelling, Transition::End(End::Failed)) => Some(Self::Failed),
            (Self::Pending, Transition::HandBack | Transition::End(_))
            | (Self::Running, Transition::End(End::Cancelled))
            | (Self::Completed | Self::Failed | Self::Cancelled, _) => None,
        }
    }

    /// Every status, in the order of a job's life.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Running,
        Self::Cancelling,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// As in JSON: `pending`, `running`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The text of a job's workflow. It is stored once for all jobs that share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Of the text.
    pub hash: Arc<str>,
    /// The file's name, whose extension says how to read it.
    pub name: Arc<str>,
    /// The whole file.
    pub text: Arc<str>,
}

/// A job as it is asked for.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Fresh.
    pub id: JobId,
    /// The workflow's name.
    pub workflow: Arc<str>,
    /// Pinned: the job runs by this text, whatever becomes of the file.
    pub definition: Arc<Definition>,
    /// What to do.
    pub workload: Workload,
    /// The caller's own labels: an object.
    pub metadata: Option<Json>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it must have ended.
    pub deadline: Option<Timestamp>,
    /// The key that made it, where keys are in use.
    pub owner: Option<Arc<str>>,
    /// The job this one repeats.
    pub retried_from: Option<JobId>,
    /// Deduplication.
    pub idempotency: Option<Idempotency>,
    /// Where its end is to be told.
    pub webhook: Option<Webhook>,
}

impl NewJob {
    /// The job as it enters the queue.
    pub(crate) fn pending_job(&self) -> Job {
        Job {
            id: self.id,
            workflow: self.workflow.clone(),
            definition_hash: self.definition.hash.clone(),
            status: Status::Pending,
            metadata: self.metadata.clone(),
            created_at: self.created_at,
            started_at: None,
            completed_at: None,
            execution_time_ms: None,
            outputs: None,
            error: None,
            problem: None,
            usage: None,
            deadline: self.deadline,
            owner: self.owner.clone(),
            retried_from: self.retried_from,
            attempts: 0,
            webhook: self.webhook.as_ref().map(Webhook::untried),
        }
    }
}

/// What a worker needs to run a job. Opaque to stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The caller's inputs, found to be valid.
    pub inputs: Json,
    /// Per-job budget and the like.
    pub options: Option<Json>,
    /// Where an earlier attempt stopped; `None`: begin at the start.
    pub progress: Option<Json>,
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

/// A stored job as its owner sees it: without the [`Workload`]. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as in `NewJob`")]
pub struct Job {
    pub id: JobId,
    pub workflow: Arc<str>,
    pub definition_hash: Arc<str>,
    pub status: Status,
    pub metadata: Option<Json>,
    pub created_at: Timestamp,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    /// Time spent running.
    pub execution_time_ms: Option<u64>,
    /// The whole final state, once completed. Never in a listing.
    pub outputs: Option<Json>,
    /// One sentence, once failed.
    pub error: Option<Arc<str>>,
    /// RFC 9457 members, once failed.
    pub problem: Option<Json>,
    /// Tokens, calls and cost, once ended.
    pub usage: Option<Json>,
    pub deadline: Option<Timestamp>,
    pub owner: Option<Arc<str>>,
    pub retried_from: Option<JobId>,
    /// Times it was claimed and not handed back.
    pub attempts: u32,
    /// How far its end has been told, where it is to be.
    pub webhook: Option<Delivery>,
}

impl Job {
    /// What its texts take in a listing, in bytes.
    pub(crate) fn listed_bytes(&self) -> usize {
        let json = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.text().len());
        json(&self.metadata)
            + json(&self.problem)
            + json(&self.usage)
            + self.error.as_ref().map_or(0, |error| error.len())
    }
}

/// How a job ended, in its worker's words.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Which way.
    pub end: End,
    /// Present when completed.
    pub outputs: Option<Json>,
    /// Present when failed.
    pub error: Option<Arc<str>>,
    /// Present when failed.
    pub problem: Option<Json>,
    /// What it took.
    pub usage: Option<Json>,
    /// Time spent running.
    pub execution_time_ms: u64,
    /// When.
    pub at: Timestamp,
}
