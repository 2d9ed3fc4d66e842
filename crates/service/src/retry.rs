//! Repeating a job as a new one, from where it failed or from a given node.

use std::fmt;
use std::sync::Arc;

use engine::outcome::Usage;
use engine::progress::Progress;
use engine::replay::AmbiguousFanOut;
use engine::run::Start;
use jiff::Timestamp;
use jobs::job::{Idempotency, Job, JobId, NewJob, Status, Workload};
use jobs::json::Json;
use jobs::store::Error;
use jobs::webhook::Webhook;

use crate::catalog::LoadedWorkflow;
use crate::level::LEVEL;
use crate::position;
use crate::run_options::RunOptions;
use crate::shared::Service;
use crate::submission::{Accepted, SubmitError};

/// Where a retry begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryFrom {
    /// Where the job stopped; completed nodes are kept.
    Failed,
    /// At this node, with the state that the job had reached.
    Node(String),
}

impl fmt::Display for RetryFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("from where it failed"),
            Self::Node(node) => write!(f, "from node {node}"),
        }
    }
}

/// The version of its workflow that a retry runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryDefinition {
    /// The version that the job began with.
    #[default]
    Original,
    /// The version that is served now.
    Current,
}

/// How a job is to be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Where it begins.
    pub from: RetryFrom,
    /// The version of the workflow that it runs.
    pub definition: RetryDefinition,
    /// `Idempotency-Key`: the same retry of the same job with the same key is the same job.
    pub idempotency_key: Option<String>,
}

impl From<RetryFrom> for Retry {
    fn from(from: RetryFrom) -> Self {
        Self {
            from,
            definition: RetryDefinition::Original,
            idempotency_key: None,
        }
    }
}

impl Retry {
    /// The retries of a job have a scope of their own for keys, apart from that of the job itself.
    fn idempotency(&self, job: &Job) -> Option<Idempotency> {
        let key = self.idempotency_key.clone()?;
        let owner = job.owner.as_deref().unwrap_or_default();
        Some(Idempotency {
            scope: format!("{owner}/retry of {}", job.id),
            key,
            fingerprint: match (&self.from, self.definition) {
                (from, RetryDefinition::Original) => from.to_string(),
                (from, RetryDefinition::Current) => format!("current, {from}"),
            },
            former_fingerprint: None,
        })
    }
}

/// Why a job was not retried.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// There is no such job.
    #[error("job not found")]
    NotFound,
    /// The job has not ended.
    #[error("the job is still active; cancel it first")]
    Active,
    /// The job completed, so there is no failed node to continue from.
    #[error("the job completed; name the node to start again from")]
    NothingFailed,
    /// The workflow has no such node.
    #[error("the job's workflow has no node `{0}`")]
    UnknownNode(String),
    /// The node runs once per item of several nodes; the retry has to begin at one of those.
    #[error("node `{node}` runs once per item for several nodes; name one of them: {}", .sources.join(", "))]
    ManyFanOuts {
        /// The node.
        node: String,
        /// The nodes that lead to it.
        sources: Vec<String>,
    },
    /// The current version was asked for, and the workflow is no longer served.
    #[error("workflow `{0}` is no longer served")]
    NotServed(Arc<str>),
    /// The current version was asked for, and the job does not fit it; a sentence says why.
    #[error("{0}")]
    DoesNotFit(String),
    /// The job's workflow or progress can no longer be read.
    #[error(
        "this version of flowmill cannot read the job's workflow or its progress; submit it again"
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
    /// Repeats an ended job as a new one. Nodes that completed before the starting point are not
    /// executed again. The new job has the inputs, labels, budget, webhook and (counted from now)
    /// deadline of the old one, and counts only its own usage.
    pub async fn retry(&self, id: JobId, how: impl Into<Retry>) -> Result<Accepted, RetryError> {
        let shared = &self.shared;
        let how = how.into();
        let (Some(job), Some(work)) = (
            shared.store.get(id).await?,
            shared.store.workload(id).await?,
        ) else {
            return Err(RetryError::NotFound);
        };
        match job.status {
            Status::Pending | Status::Running | Status::Waiting | Status::Cancelling => {
                return Err(RetryError::Active);
            }
            Status::Completed if how.from == RetryFrom::Failed => {
                return Err(RetryError::NothingFailed);
            }
            Status::Completed | Status::Failed | Status::Cancelled => {}
        }
        let workflow = shared
            .workflows
            .of_job(&*shared.store, &job)
            .await?
            .ok_or(RetryError::Unreadable)?;
        let store = &*shared.store;
        let stopped_at = position::of(store, id, &workflow, &work, None)
            .await?
            .ok_or(RetryError::Unreadable)?;
        let idempotency = how.idempotency(&job);
        let (workflow, stopped_at) = match how.definition {
            RetryDefinition::Original => (workflow, stopped_at),
            RetryDefinition::Current => {
                let current = shared.workflows.catalog.get(&job.workflow);
                let current = current.ok_or_else(|| RetryError::NotServed(job.workflow.clone()))?;
                let start = transferred(&workflow, &current, &work, stopped_at, &how.from)?;
                (current, start)
            }
        };
        let start = begin(&workflow, stopped_at, how.from)?;
        workflow
            .preflight(&*shared.models)
            .map_err(SubmitError::Preflight)?;
        let webhook = shared.store.webhook(id).await?;
        let webhook = webhook
            .filter(|webhook| webhook.target.is_some())
            .or_else(|| shared.deliveries.own_webhook());
        let now = shared.host.now();
        let progress = match &start {
            Start::Fresh(_) => None,
            Start::Resume(progress) => Some(Json::of(&progress.without_inputs())),
        };
        let again = again(
            job,
            Workload {
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
    let nodes = &workflow.workflow.nodes;
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
        let begun = progress.begin_at(&workflow.plan, node);
        begun.map_err(|AmbiguousFanOut(sources)| RetryError::ManyFanOuts {
            node: nodes[node.0].id.clone(),
            sources: sources
                .iter()
                .map(|node| nodes[node.0].id.clone())
                .collect(),
        })?;
    }
    Ok(Start::Resume(progress))
}

/// Where the job stopped, in the current version of its workflow.
fn transferred(
    original: &LoadedWorkflow,
    current: &LoadedWorkflow,
    work: &Workload,
    stopped_at: Start,
    from: &RetryFrom,
) -> Result<Start, RetryError> {
    if original.definition.hash == current.definition.hash {
        return Ok(stopped_at);
    }
    let inputs = work.inputs.read().map_err(|_| RetryError::Unreadable)?;
    let initial = current
        .workflow
        .accept_inputs(&inputs)
        .map_err(|mut faults| {
            current.workflow.mask_faults(&mut faults);
            let first = faults.first();
            let first = first.map(|fault| format!(" ({}: {})", fault.dotted_path(), fault.message));
            RetryError::DoesNotFit(format!(
                "the job's inputs do not fit the current workflow{}; submit the run again",
                first.unwrap_or_default()
            ))
        })?;
    let mut progress = match stopped_at {
        Start::Fresh(_) => return Ok(Start::Fresh(initial)),
        Start::Resume(progress) => progress,
    };
    if matches!(from, RetryFrom::Node(_)) {
        progress.leave_position();
    }
    let moved = progress.transferred(&original.plan, &current.plan, initial);
    match moved {
        Ok(progress) => Ok(Start::Resume(Box::new(progress))),
        Err(misfit) => Err(RetryError::DoesNotFit(format!(
            "the job does not fit the current workflow: {misfit}; name a node to start from in `from`, or \
             submit the run again"
        ))),
    }
}

fn again(
    job: Job,
    work: Workload,
    workflow: &Arc<LoadedWorkflow>,
    id: JobId,
    now: Timestamp,
    webhook: Option<Webhook>,
) -> NewJob {
    NewJob {
        id,
        workflow: job.workflow,
        definition: workflow.definition.clone(),
        workload: work,
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
        level: LEVEL,
    }
}
