//! A job, its states, and the transitions between them.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::id::JobId;
use crate::json::Json;
use crate::webhook::{Delivery, Webhook};

/// The state of a job. The legal moves are those of [`Status::after`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(
    rename = "JobStatus",
    description = "The status of a job. `completed`, `failed` and `cancelled` are final."
)]
pub enum Status {
    /// In the queue: waits for a worker.
    Pending,
    /// A worker holds its lease.
    Running,
    /// Its run is parked: it waits for something outside, and nobody holds its lease.
    // No client can see it yet.
    #[schemars(skip)]
    Waiting,
    /// As `Running`, and it was asked to stop.
    Cancelling,
    /// Ended with outputs.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked it to stop.
    Cancelled,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// A worker takes it: from the queue, from one that let its lease lapse, or, to end it at its
    /// deadline, while it is parked.
    Claim,
    /// Its worker gives it up unfinished.
    HandBack,
    /// Its worker parks it.
    Park,
    /// What it was parked for has happened, or its time has come.
    Wake,
    /// Somebody asks it to stop.
    RequestCancel,
    /// Its worker reports how it ended.
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
    /// A running job ends as cancelled only if somebody asked for that. A job that was asked to
    /// stop may still complete: its end reports what really happened. It never returns to the
    /// queue: the worker that claims it next has to end it.
    pub fn after(self, transition: Transition) -> Option<Self> {
        match (self, transition) {
            (Self::Pending | Self::Running | Self::Waiting, Transition::Claim) => {
                Some(Self::Running)
            }
            (Self::Running, Transition::HandBack) | (Self::Waiting, Transition::Wake) => {
                Some(Self::Pending)
            }
            (Self::Running, Transition::Park) => Some(Self::Waiting),
            (Self::Pending | Self::Waiting, Transition::RequestCancel)
            | (Self::Cancelling, Transition::End(End::Cancelled)) => Some(Self::Cancelled),
            (Self::Running | Self::Cancelling, Transition::RequestCancel)
            | (Self::Cancelling, Transition::Claim | Transition::HandBack) => {
                Some(Self::Cancelling)
            }
            (Self::Running | Self::Cancelling, Transition::End(End::Completed)) => {
                Some(Self::Completed)
            }
            (Self::Running | Self::Cancelling, Transition::End(End::Failed)) => Some(Self::Failed),
            (
                Self::Pending,
                Transition::HandBack | Transition::Park | Transition::Wake | Transition::End(_),
            )
            | (Self::Running, Transition::Wake | Transition::End(End::Cancelled))
            | (Self::Waiting, Transition::HandBack | Transition::Park | Transition::End(_))
            | (Self::Cancelling, Transition::Park | Transition::Wake)
            | (Self::Completed | Self::Failed | Self::Cancelled, _) => None,
        }
    }

    /// Every status, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Cancelling,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Those that a job can have as seen from outside. Nothing parks a run yet; what first does,
    /// ends this list in favour of [`ALL`](Self::ALL).
    pub const REACHABLE: [Self; 6] = [
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
            Self::Waiting => "waiting",
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
    /// Hash of the text.
    pub hash: Arc<str>,
    /// The file's name; its extension tells the file's format.
    pub name: Arc<str>,
    /// The whole content of the file.
    pub text: Arc<str>,
}

/// A job as it is submitted.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// A new id, chosen by the caller.
    pub id: JobId,
    /// The workflow's name.
    pub workflow: Arc<str>,
    /// The job runs with this text, even if the file changes later.
    pub definition: Arc<Definition>,
    /// What the worker needs to run it.
    pub workload: Workload,
    /// The caller's own labels: a JSON object.
    pub metadata: Option<Json>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The time by which it must have ended.
    pub deadline: Option<Timestamp>,
    /// Id of the API key that submitted it, if API keys are in use.
    pub owner: Option<Arc<str>>,
    /// The job that this one retries.
    pub retried_from: Option<JobId>,
    /// Recognises repeated submissions of the same request.
    pub idempotency: Option<Idempotency>,
    /// Receives a message when the job has ended.
    pub webhook: Option<Webhook>,
    /// The lowest level of a replica that can run it, for stores on which versions of the program
    /// meet. It rises when a version writes definitions, progress or events that the one before
    /// cannot read.
    pub level: u32,
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
    /// The caller's inputs, already validated.
    pub inputs: Json,
    /// Settings of this run, such as its budget.
    pub options: Option<Json>,
    /// Where an earlier attempt stopped; `None`: the run begins at the start.
    pub progress: Option<Json>,
}

/// An `Idempotency-Key` and what it was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The API key and the workflow within which the key is unique.
    pub scope: String,
    /// The value of the `Idempotency-Key` header.
    pub key: String,
    /// Hash of the validated inputs. Not of the workflow's version: while two versions are served, a
    /// repeated request may meet the other one.
    pub fingerprint: String,
    /// The fingerprint of the same request as stores before format 7 have it; it means the same.
    pub former_fingerprint: Option<String>,
}

/// A stored job as its owner sees it, without the [`Workload`]. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as in `NewJob`")]
pub struct Job {
    pub id: JobId,
    pub workflow: Arc<str>,
    pub definition_hash: Arc<str>,
    pub status: Status,
    pub metadata: Option<Json>,
    pub created_at: Timestamp,
    /// When a worker claimed it for the first time.
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    /// Time that it ran, without the time in the queue.
    pub execution_time_ms: Option<u64>,
    /// The whole final state, once completed. Not part of listings.
    pub outputs: Option<Json>,
    /// The reason in one sentence, once failed.
    pub error: Option<Arc<str>>,
    /// The problem document (RFC 9457), once failed.
    pub problem: Option<Json>,
    /// Tokens, model calls and cost, once ended.
    pub usage: Option<Json>,
    pub deadline: Option<Timestamp>,
    pub owner: Option<Arc<str>>,
    pub retried_from: Option<JobId>,
    /// Times it was claimed, without the claims that ended with it handed back or parked.
    pub attempts: u32,
    /// State of the message to its webhook, if it has one.
    pub webhook: Option<Delivery>,
}

impl Idempotency {
    /// Whether a key that was used for that fingerprint was used for this request.
    pub(crate) fn is_for(&self, fingerprint: &str) -> bool {
        self.fingerprint == fingerprint || self.former_fingerprint.as_deref() == Some(fingerprint)
    }
}

impl Job {
    /// Bytes that its texts take in a listing.
    pub(crate) fn listed_bytes(&self) -> usize {
        let json = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.text().len());
        json(&self.metadata)
            + json(&self.problem)
            + json(&self.usage)
            + self.error.as_ref().map_or(0, |error| error.len())
    }
}

/// How a job ended, as its worker reports it.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Completed, failed or cancelled.
    pub end: End,
    /// The final state of a completed job.
    pub outputs: Option<Json>,
    /// The reason of a failed job in one sentence.
    pub error: Option<Arc<str>>,
    /// The problem document (RFC 9457) of a failed job.
    pub problem: Option<Json>,
    /// Tokens, model calls and cost.
    pub usage: Option<Json>,
    /// Time that it ran, without the time in the queue.
    pub execution_time_ms: u64,
    /// When it ended.
    pub at: Timestamp,
}
