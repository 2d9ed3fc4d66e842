//! Submitting runs and waiting for them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engine::offload::{self, MAX_INLINE_BYTES};
use engine::outcome::Failure;
use engine::run::Start;
use engine::watch::{Origin, Telemetry};
use jiff::{SignedDuration, Timestamp};
use jobs::job::{Idempotency, Job, JobId, NewJob, Status, Workload};
use jobs::json::Json;
use jobs::store::Error;
use jobs::webhook::Webhook;
use lang::fault::{Fault, are_within};
use lang::json::LargeIntegers;
use lang::workflow::{Budget, InitialState};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::backoff::Backoff;
use crate::catalog::LoadedWorkflow;
use crate::inline_run::InlineRun;
use crate::inputs;
use crate::limits::Exceeded;
use crate::live::LiveRun;
use crate::service::{Service, Shared};

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
    pub(crate) fn new(job: &NewJob, run: Option<Arc<LiveRun>>) -> Self {
        Self {
            id: job.id,
            replayed: false,
            ended: None,
            created_at: job.created_at,
            run,
        }
    }

    /// What is known of its end: nothing where it has none yet, or where the store does not answer. The
    /// run was accepted, so its handle is good in any case.
    fn end_of(&self, found: Result<Option<Job>, Error>) -> Option<Job> {
        match found {
            Ok(job) => job.filter(|job| job.status.is_final()),
            Err(error) => {
                tracing::error!(job = %self.id, %error, "a client that waits for its run gets a handle: the store does not answer");
                None
            }
        }
    }
}

/// What a job keeps of its request beside inputs and deadline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunOptions {
    max_cost_usd: Option<f64>,
    max_tokens: Option<u64>,
    max_llm_calls: Option<u64>,
    pub(crate) stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_parent: Option<String>,
}

impl RunOptions {
    fn new(budget: &Budget, stream: bool, origin: Origin) -> Self {
        let Budget {
            max_cost_usd,
            max_tokens,
            max_llm_calls,
        } = *budget;
        Self {
            max_cost_usd,
            max_tokens,
            max_llm_calls,
            stream,
            waits_ms: origin.waits_ms,
            trace_parent: origin.parent.map(|parent| parent.to_string()),
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            waits_ms: self.waits_ms,
            parent: self
                .trace_parent
                .as_deref()
                .and_then(|text| text.parse().ok()),
        }
    }

    pub(crate) fn budget(&self) -> Budget {
        let Self {
            max_cost_usd,
            max_tokens,
            max_llm_calls,
            ..
        } = *self;
        Budget {
            max_cost_usd,
            max_tokens,
            max_llm_calls,
        }
    }

    /// What was asked for with a job.
    pub(crate) fn of(work: &Workload) -> Self {
        let options = work.options.as_ref();
        options
            .and_then(|json| json.read().ok())
            .unwrap_or_default()
    }

    /// For a job that repeats another: all but where that one came from.
    pub(crate) fn again(work: &Workload) -> Option<Json> {
        Self {
            waits_ms: None,
            trace_parent: None,
            ..Self::of(work)
        }
        .to_json()
    }

    /// Nothing where nothing was asked for.
    fn to_json(&self) -> Option<Json> {
        (*self != Self::default()).then(|| Json::of(self))
    }
}

impl Service {
    /// Accepts a run: it is stored, and will be executed once whatever becomes of the caller.
    pub fn submit<'a>(
        &'a self,
        workflow: &'a Arc<LoadedWorkflow>,
        request: RunRequest,
    ) -> impl Future<Output = Result<Accepted, SubmitError>> + Send + 'a {
        // At once, so that the request need not be kept.
        let accepted = self.accept(workflow, request);
        async move {
            let (job, state) = accepted?;
            self.shared.admit(workflow, job, Start::Fresh(state)).await
        }
    }

    /// As [`submit`](Self::submit), for a caller who waits for the end and executes the run meanwhile, for
    /// as long as it has patience.
    pub fn submit_inline<'a>(
        &'a self,
        workflow: &'a Arc<LoadedWorkflow>,
        request: RunRequest,
        patience: Duration,
    ) -> impl Future<Output = Result<InlineRun, SubmitError>> + Send + 'a {
        let accepted = self.accept(workflow, request);
        async move {
            let (job, state) = accepted?;
            let start = Start::Fresh(state);
            self.shared
                .admit_inline(workflow, job, start, patience)
                .await
        }
    }

    /// The job to be stored, and where it starts.
    fn accept(
        &self,
        workflow: &Arc<LoadedWorkflow>,
        request: RunRequest,
    ) -> Result<(Box<NewJob>, InitialState), SubmitError> {
        let shared = &self.shared;
        let is_long = !are_within(&request.inputs, MAX_INLINE_BYTES);
        let (inputs, state) = offload::run(is_long, || {
            let large_integers = request.large_integers.as_ref();
            inputs::accept(&workflow.workflow, request.inputs, large_integers)
        })
        .map_err(SubmitError::Inputs)?;
        workflow
            .preflight(&*shared.models)
            .map_err(SubmitError::Preflight)?;
        let idempotency = request.idempotency_key.map(|key| Idempotency {
            scope: format!(
                "{}/{}",
                request.owner.as_deref().unwrap_or_default(),
                workflow.name
            ),
            key,
            fingerprint: inputs::fingerprint(&workflow.workflow, &state),
        });
        let wants_origin = |telemetry: &Arc<dyn Telemetry>| telemetry.wants_origin();
        let origin = if shared.telemetry.as_ref().is_some_and(wants_origin) {
            request.origin
        } else {
            Origin::default()
        };
        let created_at = shared.host.now();
        let deadline = request.deadline.or(shared.settings.default_deadline);
        let job = NewJob {
            id: JobId(shared.host.new_id()),
            workflow: workflow.name.clone(),
            definition: workflow.definition.clone(),
            workload: Workload {
                inputs: Json::of(&inputs),
                options: RunOptions::new(&request.budget, request.stream, origin).to_json(),
                progress: None,
            },
            metadata: request.metadata.map(|metadata| Json::of(&metadata)),
            created_at,
            deadline: deadline.map(|deadline| later(created_at, deadline)),
            owner: request.owner,
            retried_from: None,
            idempotency,
            webhook: request.webhook.or_else(|| shared.own_webhook()),
        };
        Ok((Box::new(job), state))
    }

    /// Waits for an accepted run to end; `None` when it has not within `timeout`, or will not in this
    /// process, which is shutting down.
    pub async fn wait(&self, accepted: &Accepted, timeout: Duration) -> Option<Job> {
        let shared = &self.shared;
        let ended = tokio::select! {
            biased;
            ended = shared.ended(accepted.id, accepted.run.clone()) => accepted.end_of(ended),
            () = shared.host.sleep(timeout) => None,
        };
        shared.answered(accepted, ended)
    }

    /// Nobody waits for a run: it was asked for so.
    pub fn leave(&self, accepted: &Accepted) {
        self.shared.answered(accepted, None);
    }

    /// Executes a run and waits for it to end; `None` when it has not within `timeout`, or will not in this
    /// process, which is shutting down. Otherwise the run then goes on by itself, as when this is dropped.
    pub async fn wait_inline(&self, mut inline: InlineRun, timeout: Duration) -> Option<Job> {
        let shared = &self.shared;
        let mut patience = pin!(shared.host.sleep(timeout));
        // The end is not listened for meanwhile: to be told of it by oneself costs a wake-up.
        tokio::select! {
            biased;
            () = inline.rest.finish() => {}
            () = &mut patience => return shared.answered(&inline.accepted, None),
        }
        let Accepted { id, run, .. } = &inline.accepted;
        let ended = tokio::select! {
            biased;
            ended = shared.ended(*id, run.clone()) => inline.accepted.end_of(ended),
            () = patience => None,
        };
        shared.answered(&inline.accepted, ended)
    }

    /// Waits for a job to end and returns it as it then stands, or as it stands after `timeout` or when
    /// this process stops executing runs; `None` when there is no such job.
    pub async fn wait_for(&self, id: JobId, timeout: Duration) -> Result<Option<Job>, Error> {
        let shared = &self.shared;
        tokio::select! {
            biased;
            ended = shared.ended(id, None) => ended,
            () = shared.host.sleep(timeout) => shared.store.get(id).await,
        }
    }
}

impl Shared {
    /// What somebody who waited gets: the end, or the handle of a run that goes on without them.
    fn answered(&self, accepted: &Accepted, ended: Option<Job>) -> Option<Job> {
        if ended.is_none()
            && let Some(run) = accepted.run.clone().or_else(|| self.running(accepted.id))
        {
            run.handed_over();
        }
        ended
    }

    /// A job at its end, however long that takes; as it stands once no run goes on in this process. `None`
    /// when there is no such job.
    async fn ended(&self, id: JobId, mut run: Option<Arc<LiveRun>>) -> Result<Option<Job>, Error> {
        let mut backoff = Backoff::for_polling();
        loop {
            if let Some(run) = run.or_else(|| self.running(id))
                && let Some(job) = run.ended().await
            {
                return Ok(Some(job));
            }
            let is_last_look = self.abandon_runs.is_cancelled();
            match self.store.get(id).await? {
                Some(job) if !job.status.is_final() && !is_last_look => {}
                found => return Ok(found),
            }
            tokio::select! {
                biased;
                () = self.abandon_runs.cancelled() => {}
                () = backoff.pause(&*self.host) => {}
            }
            run = None;
        }
    }
}

/// The end of time rather than an overflow.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| at.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}
