//! Submitting runs and waiting for them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engine::offload::{self, MAX_INLINE_BYTES};
use engine::run::Start;
use engine::watch::{Origin, Telemetry};
use jobs::job::{Idempotency, Job, JobId, NewJob, Workload};
use jobs::json::Json;
use jobs::store::{Error, later};
use lang::fault::are_within;
use lang::workflow::InitialState;

use crate::catalog::LoadedWorkflow;
use crate::inline_run::InlineRun;
use crate::inputs;
use crate::level::LEVEL;
use crate::live::LiveRun;
use crate::run_options::RunOptions;
use crate::shared::{Service, Shared};
use crate::submission::{Accepted, RunRequest, SubmitError};

impl Service {
    /// Accepts a run: its job is stored, and executed once whether the client stays or leaves.
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

    /// As [`submit`](Self::submit), for a client that waits for the end, for up to `max_wait`, and
    /// executes the run meanwhile.
    pub fn submit_inline<'a>(
        &'a self,
        workflow: &'a Arc<LoadedWorkflow>,
        request: RunRequest,
        max_wait: Duration,
    ) -> impl Future<Output = Result<InlineRun, SubmitError>> + Send + 'a {
        let accepted = self.accept(workflow, request);
        async move {
            let (job, state) = accepted?;
            let start = Start::Fresh(state);
            self.shared
                .admit_inline(workflow, job, start, max_wait)
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
            former_fingerprint: Some(inputs::former_fingerprint(&workflow.workflow, &state)),
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
            webhook: request.webhook.or_else(|| shared.deliveries.own_webhook()),
            level: LEVEL,
        };
        Ok((Box::new(job), state))
    }

    /// Waits for an accepted run to end; `None` when it does not within `timeout`, or not in this
    /// process because it is shutting down.
    pub async fn wait(&self, accepted: &Accepted, timeout: Duration) -> Option<Job> {
        let shared = &self.shared;
        let ended = tokio::select! {
            biased;
            ended = shared.ended(accepted.id, accepted.run.clone()) => accepted.end_of(ended),
            () = shared.host.sleep(timeout) => None,
        };
        shared.answered(accepted, ended)
    }

    /// The client of a run asked not to wait for it.
    pub fn leave(&self, accepted: &Accepted) {
        self.shared.answered(accepted, None);
    }

    /// Executes a run and waits for it to end; `None` when it does not within `timeout`, or not in
    /// this process because it is shutting down. The run then continues by itself, as when this is
    /// dropped.
    pub async fn wait_inline(&self, mut inline: InlineRun, timeout: Duration) -> Option<Job> {
        let shared = &self.shared;
        let mut timeout = pin!(shared.host.sleep(timeout));
        // The end is not listened for meanwhile, which would cost a wake-up by ourselves.
        tokio::select! {
            biased;
            () = inline.rest.finish() => {}
            () = &mut timeout => return shared.answered(&inline.accepted, None),
        }
        let Accepted { id, run, .. } = &inline.accepted;
        let ended = tokio::select! {
            biased;
            ended = shared.ended(*id, run.clone()) => inline.accepted.end_of(ended),
            () = timeout => None,
        };
        shared.answered(&inline.accepted, ended)
    }

    /// Waits for a job to end and returns it as it is then, or after `timeout`, or when this
    /// process stops executing runs; `None` when there is no such job.
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
    /// What a client that waited gets: the end, or nothing where the run continues without it.
    fn answered(&self, accepted: &Accepted, ended: Option<Job>) -> Option<Job> {
        if ended.is_none()
            && let Some(run) = accepted.run.clone().or_else(|| self.runs.get(accepted.id))
        {
            run.handed_over();
        }
        ended
    }

    /// A job at its end, however long that takes, or as it is once this process stops executing
    /// runs. `None` when there is no such job.
    async fn ended(&self, id: JobId, mut run: Option<Arc<LiveRun>>) -> Result<Option<Job>, Error> {
        loop {
            if let Some(run) = run.or_else(|| self.runs.get(id))
                && let Some(job) = run.ended().await
            {
                return Ok(Some(job));
            }
            run = None;
            // In this order: what happens after `wait` is told, and what happened before is read.
            let is_last_look = self.lifecycle.abandon_runs.is_cancelled();
            let mut follower = self.followers.wait(id);
            match self.store.get(id).await? {
                Some(job) if !job.status.is_final() && !is_last_look => {}
                found => return Ok(found),
            }
            if self.runs.get(id).is_some() {
                continue;
            }
            tokio::select! {
                biased;
                () = self.lifecycle.abandon_runs.cancelled() => {}
                // Whatever it is, it is read.
                _ = follower.next() => {}
            }
        }
    }
}
