//! Repeating a job as a new one, from where it failed or from a node on.

use std::sync::Arc;

use engine::outcome::Usage;
use engine::progress::Progress;
use engine::run::Start;
use jiff::Timestamp;
use jobs::job::{Idempotency, Job, JobId, NewJob, Status, Work};
use jobs::json::Json;
use jobs::store::Error;
use jobs::webhook::Webhook;

use crate::catalog::LoadedWorkflow;
use crate::position;
use crate::runs::{Accepted, RunOptions, SubmitError};
use crate::service::Service;

/// Where a retry begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryFrom {
    /// Where the job stopped: what had completed is kept.
    Failed,
    /// At this node, on the state the job had reached.
    Node(String),
}

/// How a job is to be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Where it begins.
    pub from: RetryFrom,
    /// `Idempotency-Key`: the same repetition of the same job, asked for again with the same key, is the
    /// same job.
    pub idempotency_key: Option<String>,
}

impl From<RetryFrom> for Retry {
    fn from(from: RetryFrom) -> Self {
        Self {
            from,
            idempotency_key: None,
        }
    }
}

impl Retry {
    /// A job's repetitions have keys of their own: that of the request for the job itself is another.
    fn idempotency(&self, job: &Job) -> Option<Idempotency> {
        let key = self.idempotency_key.clone()?;
        let owner = job.owner.as_deref().unwrap_or_default();
        Some(Idempotency {
            scope: format!("{owner}/retry of {}", job.id),
            key,
            fingerprint: match &self.from {
                RetryFrom::Failed => "from where it failed".to_owned(),
                RetryFrom::Node(node) => format!("from node {node}"),
            },
        })
    }
}

/// Why a job was not repeated.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// No such job.
    #[error("job not found")]
    NotFound,
    /// It has not ended.
    #[error("the job is still active; cancel it first")]
    Active,
    /// It completed, so that there is no failed node to go on from.
    #[error("the job completed; name the node to run it again from")]
    NothingFailed,
    /// The workflow has no such node.
    #[error("the job's workflow has no node `{0}`")]
    UnknownNode(String),
    /// Its workflow or its progress cannot be read any more.
    #[error(
        "this version of flowmill cannot read the job's workflow or its progress; submit it anew"
    )]
    Unreadable,
    /// The new job was not accepted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl From<Error> for RetryError {
    fn from(error: Error) -> Self {
        Self::Submit(error.into())
    }
}

impl Service {
    /// Repeats an ended job as a new one. Nodes that had completed before that point are not executed
    /// again. The new job takes inputs, labels, budget, webhook and (from now) deadline of the old one, and
    /// counts only what it takes itself.
    pub async fn retry(&self, id: JobId, how: impl Into<Retry>) -> Result<Accepted, RetryError> {
        let shared = &self.shared;
        let how = how.into();
        let (Some(job), Some(work)) = (shared.store.get(id).await?, shared.store.work(id).await?)
        else {
            return Err(RetryError::NotFound);
        };
        match job.status {
            Status::Pending | Status::Running | Status::Cancelling => {
                return Err(RetryError::Active);
            }
            Status::Completed if how.from == RetryFrom::Failed => {
                return Err(RetryError::NothingFailed);
            }
            Status::Completed | Status::Failed | Status::Cancelled => {}
        }
        let workflow = shared
            .workflow_of(&job)
            .await?
            .ok_or(RetryError::Unreadable)?;
        let store = &*shared.store;
        let stopped_at = position::of(store, id, &workflow, &work, None)
            .await?
            .ok_or(RetryError::Unreadable)?;
        let idempotency = how.idempotency(&job);
        let start = begin(&workflow, stopped_at, how.from)?;
        workflow
            .preflight(&*shared.models)
            .map_err(SubmitError::Preflight)?;
        let webhook = shared.store.webhook(id).await?;
        let webhook = webhook
            .filter(|webhook| webhook.target.is_some())
            .or_else(|| shared.own_webhook());
        let now = shared.host.now();
        let progress = match &start {
            Start::Fresh(_) => None,
            Start::Resume(progress) => Some(Json::of(progress)),
        };
        let again = again(
            job,
            Work {
                options: RunOptions::again(&work),
                progress,
                ..work
            },
            &workflow,
            JobId(shared.host.new_id()),
            now,
            webhook,
        );
        let again = NewJob {
            idempotency,
            ..again
        };
        Ok(shared.admit(&workflow, Box::new(again), start).await?)
    }
}

fn begin(
    workflow: &LoadedWorkflow,
    stopped_at: Start,
    from: RetryFrom,
) -> Result<Start, RetryError> {
    let node = match from {
        RetryFrom::Failed => None,
        RetryFrom::Node(id) => Some(
            workflow
                .workflow
                .node(&id)
                .ok_or(RetryError::UnknownNode(id))?,
        ),
    };
    let mut progress = match (stopped_at, node) {
        (fresh @ Start::Fresh(_), None) => return Ok(fresh),
        (Start::Fresh(state), Some(_)) => Box::new(Progress::new(&workflow.workflow, state)),
        (Start::Resume(progress), _) => progress,
    };
    progress.usage = Usage::default();
    progress.elapsed_ms = 0;
    progress.last_event = 0;
    if let Some(node) = node {
        progress.begin_at(node);
    }
    Ok(Start::Resume(progress))
}

fn again(
    job: Job,
    work: Work,
    workflow: &Arc<LoadedWorkflow>,
    id: JobId,
    now: Timestamp,
    webhook: Option<Webhook>,
) -> NewJob {
    NewJob {
        id,
        workflow: job.workflow,
        definition: workflow.definition.clone(),
        work,
        metadata: job.metadata,
        created_at: now,
        deadline: job.deadline.and_then(|deadline| {
            now.checked_add(deadline.duration_since(job.created_at))
                .ok()
        }),
        owner: job.owner,
        retried_from: Some(job.id),
        idempotency: None,
        webhook,
    }
}
