//! Executing a job, from its lease or its acceptance to its end.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::outcome::{Failure, FailureCode, FailureSource, Finished, Outcome, Usage};
use engine::quota::Quota;
use engine::run::{Environment, Limits, Start};
use engine::trace::{self, RunIds};
use engine::watch::{ObserverPair, RunInfo};
use futures_util::FutureExt;
use jiff::Timestamp;
use jobs::job::{End, Ending, Job, JobId, NewJob, Status, Workload};
use jobs::json::Json;
use jobs::signals::Signal;
use jobs::store::{Claimed, Error, later};

use crate::backoff::Retries;
use crate::catalog::LoadedWorkflow;
use crate::limits::{Account, InFlightSlot};
use crate::live::LiveRun;
use crate::position;
use crate::problem::Problem;
use crate::run_options::RunOptions;
use crate::run_record::{RunRecord, StoringEnd};
use crate::shared::Shared;
use crate::slots::RunSlot;

/// What is executed, and from where.
pub(crate) type Begin = (Arc<LoadedWorkflow>, Start);

/// A job on its way to its end in this process.
pub(crate) struct Execution {
    shared: Arc<Shared>,
    run: Arc<LiveRun>,
    created_at: Timestamp,
    deadline: Option<Timestamp>,
    work: Workload,
    /// Of `work`, read once.
    options: RunOptions,
    /// The account of the job's owner, where keys are counted.
    account: Option<Arc<Account>>,
    /// The slot in that account, until the run is over.
    in_flight: Mutex<Option<InFlightSlot>>,
    /// An earlier attempt was lost, with the calls that it had under way.
    was_interrupted: bool,
    /// It waited in the store: the client that waits for its end may be one of another replica.
    waited: bool,
}

impl Execution {
    /// Of a job that is about to be stored.
    pub(crate) fn of_new(
        shared: &Arc<Shared>,
        job: Box<NewJob>,
        in_flight: Option<InFlightSlot>,
    ) -> Self {
        let (id, workflow) = (job.id, job.workflow.clone());
        let (created_at, deadline) = (job.created_at, job.deadline);
        let (work, options) = (job.workload.clone(), RunOptions::of(&job.workload));
        let run = live(shared, id, workflow, RunRecord::held(job), 0);
        if options.stream {
            run.reserve_watcher();
        }
        Self {
            shared: shared.clone(),
            run: Arc::new(run),
            created_at,
            deadline,
            work,
            options,
            account: in_flight.as_ref().map(|slot| slot.account().clone()),
            in_flight: Mutex::new(in_flight),
            was_interrupted: false,
            waited: false,
        }
    }

    /// Executes a job from where its record says it is, on a task of its own. It has a slot if it
    /// is to be executed and not just ended.
    pub(crate) fn start(shared: &Arc<Shared>, claimed: Claimed, slot: Option<RunSlot>) {
        let Claimed {
            job,
            lease,
            workload: work,
            last_event,
            starts,
            was_lost,
            wake_ups: _,
        } = claimed;
        let run = live(
            shared,
            job.id,
            job.workflow.clone(),
            RunRecord::claimed(lease),
            last_event,
        );
        let in_flight = shared.in_flight.claimed(&job);
        let execution = Self {
            shared: shared.clone(),
            run: Arc::new(run),
            created_at: job.created_at,
            deadline: job.deadline,
            options: RunOptions::of(&work),
            work,
            account: in_flight.as_ref().map(|slot| slot.account().clone()),
            in_flight: Mutex::new(in_flight),
            was_interrupted: was_lost,
            waited: true,
        };
        shared.register(&execution.run);
        shared.lifecycle.tasks.spawn(async move {
            let end = tokio::select! {
                biased;
                () = execution.shared.lifecycle.stopped.cancelled() => None,
                end = execution.resume(&job, last_event, starts) => end,
            };
            execution.leave(end, slot);
        });
    }

    pub(crate) fn run(&self) -> &Arc<LiveRun> {
        &self.run
    }

    /// Ends the run here: all that it held is given back, and all who wait are answered.
    pub(crate) fn leave(&self, end: Option<Job>, slot: Option<RunSlot>) {
        self.shared.runs.unregister(&self.run);
        drop(self.take_in_flight());
        if end.is_none()
            && self.run.record.granted().is_none()
            && let Some(telemetry) = self.run.telemetry()
        {
            telemetry.dismissed();
        }
        self.run.leave(end);
        self.shared.slots.give_back(slot);
    }

    fn take_in_flight(&self) -> Option<InFlightSlot> {
        let mut in_flight = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        in_flight.take()
    }

    /// The ended job; `None` when it has no end here.
    async fn resume(&self, job: &Job, last_event: u64, starts: u32) -> Option<Job> {
        let begin = tokio::select! {
            biased;
            () = self.run.abandon.cancelled() => {
                self.hand_back().await;
                return None;
            }
            begin = self.read_record(job, last_event) => begin,
        };
        let taken = begin
            .as_ref()
            .map_or_else(Default::default, |(_, start)| position::taken(start));
        let outcome = match (self.obstacle(job, starts), begin) {
            (None, Some(begin)) => return self.to_its_end(begin).await,
            (Some(obstacle), Some((workflow, start))) => {
                self.watch(&workflow, &start);
                obstacle
            }
            (None, None) => {
                let message = "The run cannot continue: this version of flowmill cannot read its workflow or its progress.";
                failed(FailureCode::Internal, message.to_owned())
            }
            (Some(obstacle), None) => obstacle,
        };
        self.finish(unexecuted(outcome, taken)).await
    }

    /// The ended job; `None` when it has no end here.
    pub(crate) async fn to_its_end(&self, begin: Begin) -> Option<Job> {
        let (workflow, start) = begin;
        self.watch(&workflow, &start);
        let parent = self.options.origin().parent;
        let finished = trace::within(
            RunIds::of(self.run.id().0, parent),
            self.execute(&workflow, start),
        );
        self.finish(finished.await?).await
    }

    /// Tells telemetry of the run.
    fn watch(&self, workflow: &LoadedWorkflow, start: &Start) {
        let Some(telemetry) = &self.shared.telemetry else {
            return;
        };
        let origin = self.options.origin();
        let waits = origin.waits_ms.map(Duration::from_millis);
        let inputs = || self.work.inputs.text().into_owned();
        let info = RunInfo {
            id: self.run.id().0,
            workflow: &workflow.workflow,
            inputs: &inputs,
            created_at: self.created_at,
            is_async: waits
                .is_none_or(|waits| later(self.created_at, waits) <= self.shared.host.now()),
            resumed: matches!(start, Start::Resume(_)),
            parent: origin.parent,
            ceiling: self.shared.settings.capture,
        };
        if let Some(observer) = telemetry.begin(&info) {
            self.run.watched_by(observer);
        }
    }

    /// What ends the job before any of it is executed. `starts` counts its claims since its last
    /// progress.
    fn obstacle(&self, job: &Job, starts: u32) -> Option<Outcome> {
        let now = self.shared.host.now();
        let most = self.shared.settings.max_starts;
        if job.status == Status::Cancelling {
            return Some(Outcome::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let message = "The run's deadline passed before it could start.".to_owned();
            return Some(failed(FailureCode::DeadlineExceeded, message));
        }
        if starts > most {
            return Some(failed(
                FailureCode::Internal,
                format!(
                    "The run was started {most} times, and each time its server stopped before another node completed."
                ),
            ));
        }
        None
    }

    /// The workflow and the start from the record, however long the store takes to answer; `None`
    /// where they cannot be read.
    async fn read_record(&self, job: &Job, last_event: u64) -> Option<Begin> {
        let mut retries = Retries::of_store();
        loop {
            let read = async {
                let Some(workflow) = self
                    .shared
                    .workflows
                    .of_job(&*self.shared.store, job)
                    .await?
                else {
                    return Ok(None);
                };
                let store = &*self.shared.store;
                let start =
                    position::of(store, job.id, &workflow, &self.work, Some(last_event)).await?;
                Ok::<_, Error>(start.map(|start| (workflow, start)))
            };
            match read.await {
                Ok(begin) => return begin,
                Err(error) => {
                    tracing::warn!(job = %job.id, %error, "cannot read the record of a job; retrying");
                    retries.pause(&*self.shared.host).await;
                }
            }
        }
    }

    /// `None` when the run stopped without an end.
    async fn execute(&self, workflow: &LoadedWorkflow, start: Start) -> Option<Finished> {
        let shared = &self.shared;
        if shared.store_health.is_failing() && self.awaits_store().await.is_none() {
            self.hand_back().await;
            return None;
        }
        let limits = Limits {
            deadline: self
                .deadline
                .map(|deadline| left_until(deadline, shared.host.now())),
            budget: self.options.budget(),
            quota: self
                .account
                .clone()
                .map(|account| account as Arc<dyn Quota>),
            fan_out: shared.settings.fan_out,
            stream: self.options.stream,
            capture: shared.settings.capture,
            was_interrupted: self.was_interrupted,
        };
        let environment = Environment {
            models: shared.models.clone(),
            host: shared.host.clone(),
            observer: match self.run.telemetry() {
                None => self.run.clone(),
                Some(telemetry) => Arc::new(ObserverPair::new(self.run.clone(), telemetry.clone())),
            },
            checkpoint: self.run.clone(),
        };
        let taken = position::taken(&start);
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
                tracing::warn!(job = %self.run.id(), %error, "a run stopped; its job continues when its lease has expired");
                None
            }
            // The panic hook has logged where and why.
            Some(Err(_panic)) => {
                let message =
                    "The run hit an internal error in flowmill; see the server's log.".to_owned();
                Some(unexecuted(failed(FailureCode::Internal, message), taken))
            }
            None => {
                self.hand_back().await;
                None
            }
        }
    }

    /// Waits until the store is writable, or the run has to end anyway; `None` where it is to stop
    /// here.
    async fn awaits_store(&self) -> Option<()> {
        let host = &self.shared.host;
        let past_deadline = async {
            match self.deadline {
                Some(deadline) => host.sleep(left_until(deadline, host.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.run.abandon.cancelled() => None,
            () = self.run.cancel.cancelled() => Some(()),
            () = self.shared.store_health.recovered() => Some(()),
            () = past_deadline => Some(()),
        }
    }

    /// Hands the job back unfinished, if its lease is still ours.
    async fn hand_back(&self) {
        match self.run.hand_back().await {
            Ok(()) => {
                self.shared.lifecycle.run_handed_back();
                self.shared.publish(Signal::JobsWaiting);
                if let Some(mut in_flight) = self.take_in_flight() {
                    in_flight.waits_again();
                    self.shared.in_flight.queue(self.run.id(), in_flight);
                }
            }
            Err(error) => {
                tracing::debug!(job = %self.run.id(), %error, "a run stopped; its job no longer belongs to this process");
            }
        }
    }

    /// Logs what operators look for. The sentence has no prompt in it, and sensitive values are
    /// masked.
    fn tell_failure(&self, failure: &Failure) {
        tracing::info!(
            job = %self.run.id(),
            workflow = &**self.run.workflow(),
            node = failure.node.as_deref(),
            code = Problem::of_failure(failure, None).code.as_ref(),
            reason = failure.message.as_str(),
            "a run failed"
        );
    }

    /// Stores the end, however long the store takes: the work is done and paid for.
    async fn finish(&self, finished: Finished) -> Option<Job> {
        let usage = Json::of(&finished.usage);
        let mut ending = Ending {
            end: End::Cancelled,
            outputs: None,
            error: None,
            problem: None,
            usage: Some(usage.clone()),
            execution_time_ms: finished.execution_time_ms,
            at: self.shared.host.now(),
        };
        match &finished.outcome {
            Outcome::Completed { outputs } => {
                ending.end = End::Completed;
                ending.outputs = Some(Json::of(outputs));
            }
            Outcome::Failed(failure) => {
                ending.end = End::Failed;
                ending.problem = Some(Json::of(&Problem::of_failure(failure, Some(self.run.id()))));
                ending.error = Some(failure.message.as_str().into());
            }
            Outcome::Cancelled => {}
        }
        // Before a client can know that it has ended and start another.
        drop(self.take_in_flight());
        let masked_outputs = finished.masked_outputs.as_ref().map(Json::of);
        let stored = match self.run.record.begin_ending() {
            Some(held) => self.store_ended(held, ending, masked_outputs).await,
            None => self.run.finish(&ending, masked_outputs).await,
        };
        match stored {
            Ok(job) => {
                if let Outcome::Failed(failure) = &finished.outcome {
                    self.tell_failure(failure);
                }
                let is_followed = self.waited || self.run.has_remote_watch();
                self.shared.has_ended(&job, is_followed);
                if let Some(telemetry) = self.run.telemetry() {
                    telemetry.ended(&finished);
                }
                Some(job)
            }
            Err(error) => {
                tracing::warn!(job = %self.run.id(), %error, "the store refused the end of a run");
                None
            }
        }
    }

    /// Stores a job that ended before it was stored.
    async fn store_ended(
        &self,
        (job, record): (Box<NewJob>, StoringEnd<'_>),
        ending: Ending,
        masked_outputs: Option<Json>,
    ) -> Result<Job, Error> {
        let replica = self.shared.runs.replica();
        let stored = self
            .run
            .store_ended(*job, replica, ending, masked_outputs)
            .await;
        match &stored {
            Ok(_) => {
                if let Some(account) = &self.account {
                    account.accepted();
                }
                record.ended();
            }
            Err(error) => {
                self.shared.store_health.note(error, &*self.shared.host);
                record.refused(error.clone());
            }
        }
        stored
    }
}

fn live(
    shared: &Shared,
    id: JobId,
    workflow: Arc<str>,
    record: RunRecord,
    last_event: u64,
) -> LiveRun {
    let abandon = shared.lifecycle.abandon_runs.child_token();
    LiveRun::new(&shared.backing, abandon, id, workflow, record, last_event)
}

/// An outcome that did not come from the engine, with what the run had used before.
fn unexecuted(outcome: Outcome, taken: (Usage, u64)) -> Finished {
    let (usage, execution_time_ms) = taken;
    Finished {
        outcome,
        usage: Arc::new(usage),
        execution_time_ms,
        gate_warnings: Vec::new(),
        masked_outputs: None,
    }
}

/// A failure that did not come from the engine.
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
        cut_off: None,
    })
}

/// The time until a deadline; zero where it has passed.
fn left_until(deadline: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(deadline.duration_since(now)).unwrap_or(Duration::ZERO)
}
