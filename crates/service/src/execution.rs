//! Executing a claimed job, from its lease to its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::outcome::{Failure, FailureCode, FailureSource, Finished, Outcome, Usage};
use engine::progress::Progress;
use engine::run::{Environment, Limits, Start};
use futures_util::FutureExt;
use jobs::job::{End, Ending, Job, Status, Work};
use jobs::json::Json;
use jobs::store::{Claimed, Error};
use tokio::sync::OwnedSemaphorePermit;

use crate::catalog::LoadedWorkflow;
use crate::live::LiveRun;
use crate::problem::Problem;
use crate::runs::RunOptions;
use crate::service::Shared;

/// What is executed, and from where.
pub(crate) type Begin = (Arc<LoadedWorkflow>, Start);

/// A claimed job, with its slot if it is to be executed and not just ended.
pub(crate) struct Execution {
    shared: Arc<Shared>,
    run: Arc<LiveRun>,
    job: Job,
    work: Work,
    slot: Option<OwnedSemaphorePermit>,
}

impl Execution {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        claimed: Claimed,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let Claimed {
            job,
            lease,
            work,
            last_event,
        } = claimed;
        let run = LiveRun::new(shared, lease, last_event);
        Self {
            shared: shared.clone(),
            run: Arc::new(run),
            job,
            work,
            slot,
        }
    }

    /// Executes the job on a task of its own; without `begin`, from where its record says it stands.
    pub(crate) fn start(self, begin: Option<Begin>) -> Arc<LiveRun> {
        let run = self.run.clone();
        self.shared.register(&run);
        let tasks = self.shared.tasks.clone();
        tasks.spawn(async move {
            let end = self.to_its_end(begin).await;
            self.shared.unregister(&self.run);
            self.run.leave(end);
            drop(self.slot);
            if self.shared.backlog.load(Ordering::SeqCst) {
                self.shared.wake.notify_one();
            }
        });
        run
    }

    /// The ended job; `None` when it has no end here.
    async fn to_its_end(&self, begin: Option<Begin>) -> Option<Job> {
        if let Some(outcome) = self.obstacle() {
            return self.finish(self.unexecuted(outcome)).await;
        }
        let begin = match begin {
            Some(begin) => Some(begin),
            None => match self.read_work().await {
                Ok(begin) => begin,
                Err(error) => {
                    tracing::warn!(job = %self.job.id, %error, "the definition of a job could not be read; it is left for later");
                    return None;
                }
            },
        };
        let Some((workflow, start)) = begin else {
            let message = "The run cannot go on: this version of flowmill cannot read its workflow or its progress.";
            let outcome = failed(FailureCode::Internal, message.to_owned());
            return self.finish(self.unexecuted(outcome)).await;
        };
        let finished = self.execute(&workflow, start).await?;
        self.finish(finished).await
    }

    /// What ends the job before anything of it is executed.
    fn obstacle(&self) -> Option<Outcome> {
        let now = self.shared.host.now();
        let most = self.shared.settings.max_attempts;
        if self.job.status == Status::Cancelling {
            return Some(Outcome::Cancelled);
        }
        if self.job.deadline.is_some_and(|deadline| deadline <= now) {
            let message = "The run's deadline passed before it could start.".to_owned();
            return Some(failed(FailureCode::DeadlineExceeded, message));
        }
        if self.job.attempts > most {
            return Some(failed(
                FailureCode::Internal,
                format!(
                    "The run was started {most} times, and each time its server stopped before it ended."
                ),
            ));
        }
        None
    }

    /// Workflow and position from the record; `None` where they cannot be understood.
    async fn read_work(&self) -> Result<Option<Begin>, Error> {
        let Some(workflow) = self.shared.workflow_of(&self.job).await? else {
            return Ok(None);
        };
        let start = start_of(&workflow, &self.work);
        Ok(start.map(|start| (workflow, start)))
    }

    /// `None` when the run stopped without an end.
    async fn execute(&self, workflow: &LoadedWorkflow, start: Start) -> Option<Finished> {
        let shared = &self.shared;
        let options: RunOptions = self
            .work
            .options
            .as_ref()
            .and_then(|json| json.read().ok())
            .unwrap_or_default();
        let limits = Limits {
            deadline: self
                .job
                .deadline
                .map(|deadline| left_until(deadline, shared.host.now())),
            budget: options.budget(),
            fan_out: shared.settings.fan_out,
            stream: options.stream,
        };
        let environment = Environment {
            models: shared.models.clone(),
            host: shared.host.clone(),
            observer: self.run.clone(),
            checkpoint: self.run.clone(),
        };
        let running = engine::run::run(
            &workflow.plan,
            start,
            limits,
            &environment,
            self.run.cancel.clone(),
        );
        let ended = tokio::select! {
            biased;
            () = self.run.abandon.cancelled() => None,
            ended = AssertUnwindSafe(running).catch_unwind() => Some(ended),
            _lost = self.run.keep_saving() => None,
        };
        match ended {
            Some(Ok(Ok(finished))) => Some(finished),
            Some(Ok(Err(error))) => {
                tracing::warn!(job = %self.job.id, %error, "a run stopped; its job goes on when its lease has lapsed");
                None
            }
            // The panic hook has told the log where and why.
            Some(Err(_panic)) => {
                let message =
                    "The run hit a fault inside flowmill; the server's log says where.".to_owned();
                Some(self.unexecuted(failed(FailureCode::Internal, message)))
            }
            None => {
                if let Err(error) = self.run.hand_back().await {
                    tracing::debug!(job = %self.job.id, %error, "a run stopped; its job was not ours to hand back");
                }
                None
            }
        }
    }

    /// An outcome that the engine did not come to; what earlier attempts took is not forgotten.
    fn unexecuted(&self, outcome: Outcome) -> Finished {
        let earlier: Option<Progress> = self
            .work
            .progress
            .as_ref()
            .and_then(|json| json.read().ok());
        let (usage, execution_time_ms) = earlier.map_or((Usage::default(), 0), |progress| {
            (progress.usage, progress.elapsed_ms)
        });
        Finished {
            outcome,
            usage,
            execution_time_ms,
            gate_warnings: Vec::new(),
        }
    }

    /// Stores the end, however long the store takes to accept it: the work is done and paid for.
    async fn finish(&self, finished: Finished) -> Option<Job> {
        let Finished {
            outcome,
            usage,
            execution_time_ms,
            ..
        } = finished;
        let usage = Json::of(&usage);
        let mut ending = Ending {
            end: End::Cancelled,
            outputs: None,
            error: None,
            problem: None,
            usage: Some(usage.clone()),
            execution_time_ms,
            at: self.shared.host.now(),
        };
        match outcome {
            Outcome::Completed { outputs } => {
                ending.end = End::Completed;
                ending.outputs = Some(Json::of(&outputs));
            }
            Outcome::Failed(failure) => {
                ending.end = End::Failed;
                ending.problem = Some(Json::of(&Problem::of_failure(&failure, Some(self.job.id))));
                ending.error = Some(failure.message.into());
            }
            Outcome::Cancelled => {}
        }
        let stored = tokio::select! {
            biased;
            stored = self.run.finish(&ending) => stored,
            () = self.run.abandon.cancelled() => return None,
        };
        match stored {
            Ok(job) => {
                self.shared.ended.fetch_add(1, Ordering::SeqCst);
                Some(job)
            }
            Err(error) => {
                tracing::warn!(job = %self.job.id, %error, "the end of a run was refused");
                None
            }
        }
    }
}

/// Where a stored job begins or goes on; `None` where its record cannot be understood.
pub(crate) fn start_of(workflow: &LoadedWorkflow, work: &Work) -> Option<Start> {
    match &work.progress {
        Some(progress) => progress
            .read()
            .ok()
            .map(|progress| Start::Resume(Box::new(progress))),
        None => workflow
            .workflow
            .accept_inputs(&work.inputs.read().ok()?)
            .ok()
            .map(Start::Fresh),
    }
}

/// A failure that the engine has no part in.
fn failed(code: FailureCode, message: String) -> Outcome {
    let source = match code {
        FailureCode::DeadlineExceeded => FailureSource::Workflow,
        _ => FailureSource::Server,
    };
    Outcome::Failed(Failure {
        code,
        message,
        node: None,
        source,
        retryable: false,
    })
}

/// Zero where it has passed.
fn left_until(deadline: jiff::Timestamp, now: jiff::Timestamp) -> Duration {
    Duration::try_from(deadline.duration_since(now)).unwrap_or(Duration::ZERO)
}
