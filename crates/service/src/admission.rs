//! Accepting a job: storing it, and where a slot is free starting its run meanwhile.
//!
//! The first model call of a run is under way when the store answers. If the store refuses the job,
//! the run is dropped. Where the job may exist already (it has an idempotency key), the store counts
//! the jobs of its owner, or the store is known to fail, the run waits for the commit: its calls could
//! be paid for in vain.
//!
//! Where a client waits for the run, its job is held for up to [`HOLD`]: a run that ends before is
//! stored once, with its end. `run_record` has the states of all this.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engine::run::Start;
use futures_util::future::{Either, select};
use jiff::Timestamp;
use jobs::job::{Job, NewJob};
use jobs::store::{Claimed, Error, OwnerLimits, SubmitOptions, Submitted};
use tokio::sync::oneshot;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::catalog::LoadedWorkflow;
use crate::execution::{Begin, Execution};
use crate::inline_run::{Detachable, InlineRun};
use crate::limits::{Exceeded, InFlightSlot};
use crate::live::LiveRun;
use crate::shared::Shared;
use crate::slots::RunSlot;
use crate::submission::{Accepted, Reply, SubmitError};

/// The longest time for which the job of a run is not stored while a client waits for it.
const HOLD: Duration = Duration::from_millis(100);

type Answer = oneshot::Receiver<Result<Accepted, SubmitError>>;

/// A job on its way into the store, until its client has its answer.
struct Submission {
    job: Box<NewJob>,
    reply: Reply,
    /// A drain waits for it.
    token: TaskTrackerToken,
}

/// What the store made of a submission that it did not refuse.
enum Stored {
    /// It is stored, and claimed where that was asked for.
    New(Option<Box<Claimed>>),
    /// An earlier request with the same idempotency key made this job.
    Earlier(Box<Job>),
}

/// The run is not to go on here; its client has its answer.
struct NotHere;

impl Shared {
    /// Stores a job and starts it where a slot is free. A client that leaves before it has its
    /// answer must not leave a job behind that is stored and that nobody runs: all is done without
    /// the client.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        workflow: &Arc<LoadedWorkflow>,
        job: Box<NewJob>,
        start: Start,
    ) -> Result<Accepted, SubmitError> {
        self.in_flight.refreshed(job.owner.as_ref()).await;
        let (rest, answer) = self.begin(workflow, job, start, None)?;
        // It goes on by itself.
        drop(rest);
        answer.await.unwrap_or(Err(SubmitError::Draining))
    }

    /// As [`admit`](Self::admit), for a client that wants its answer within `max_wait` and executes
    /// the run meanwhile.
    pub(crate) async fn admit_inline(
        self: &Arc<Self>,
        workflow: &Arc<LoadedWorkflow>,
        job: Box<NewJob>,
        start: Start,
        max_wait: Duration,
    ) -> Result<InlineRun, SubmitError> {
        self.in_flight.refreshed(job.owner.as_ref()).await;
        let hold = job.idempotency.is_none().then(|| max_wait.min(HOLD));
        let (mut rest, answer) = self.begin(workflow, job, start, hold)?;
        let answer = rest.until(answer).await;
        let accepted = answer.unwrap_or(Err(SubmitError::Draining))?;
        Ok(InlineRun { accepted, rest })
    }

    fn begin(
        self: &Arc<Self>,
        workflow: &Arc<LoadedWorkflow>,
        job: Box<NewJob>,
        start: Start,
        hold: Option<Duration>,
    ) -> Result<(Detachable, Answer), SubmitError> {
        let token = self.lifecycle.begin_submission();
        let token = token.ok_or(SubmitError::Draining)?;
        let slot = self
            .lease_is_relied_on()
            .then(|| self.slots.take_for_new())
            .flatten();
        let in_flight = self.in_flight.take(job.owner.as_ref(), slot.is_none());
        let in_flight = match in_flight {
            // What it repeats was let in before.
            Err(_) if job.idempotency.is_some() => in_flight,
            Err(exceeded) => return Err(exceeded.into()),
            Ok(_) => in_flight,
        };
        let (reply, answer) = oneshot::channel();
        let submission = Submission { job, reply, token };
        let (shared, tasks) = (self.clone(), self.lifecycle.tasks.clone());
        // Each as it is: a future is large, and to make another around it would copy it.
        let rest = match (in_flight, slot) {
            (Err(exceeded), _) => Detachable::new(tasks, shared.find_earlier(submission, exceeded)),
            (Ok(in_flight), Some(slot)) => {
                let begin = (workflow.clone(), start);
                Detachable::new(
                    tasks,
                    shared.start(begin, submission, in_flight, hold, slot),
                )
            }
            (Ok(in_flight), None) => Detachable::new(tasks, shared.enqueue(submission, in_flight)),
        };
        Ok((rest, answer))
    }

    /// Stores a job that the worker starts when there is a slot for it.
    async fn enqueue(self: Arc<Self>, submission: Submission, in_flight: Option<InFlightSlot>) {
        let Submission {
            job,
            reply,
            token: _token,
        } = submission;
        let (id, accepted) = (job.id, Accepted::new(job.id, job.created_at, None));
        // Before it can be claimed.
        if let Some(in_flight) = in_flight {
            self.in_flight.queue(id, in_flight);
        }
        let account = self.in_flight.account_of(job.owner.as_ref());
        let options = SubmitOptions {
            max_pending: self.settings.max_queued,
            owner_limits: self.in_flight.owner_limits(job.owner.as_ref()),
            ..SubmitOptions::default()
        };
        let answer = match self.outcome(self.store.submit(*job, options).await) {
            Ok(Stored::New(_)) => {
                if let Some(account) = account {
                    account.accepted();
                }
                self.job_waits();
                Ok(accepted)
            }
            Ok(Stored::Earlier(job)) => {
                self.in_flight.dequeue(id);
                Ok(self.replayed(&job))
            }
            Err(error) => {
                self.in_flight.dequeue(id);
                Err(error)
            }
        };
        // The client may have left; the job is accepted all the same.
        let _ = reply.send(answer);
    }

    /// For a repeated request whose key may not start another run: the run that there is.
    async fn find_earlier(self: Arc<Self>, submission: Submission, exceeded: Exceeded) {
        let Submission {
            job,
            reply,
            token: _token,
        } = submission;
        let options = SubmitOptions {
            // So that only a job that is there already is found.
            max_pending: Some(0),
            ..SubmitOptions::default()
        };
        let answer = match self.outcome(self.store.submit(*job, options).await) {
            Ok(Stored::Earlier(job)) => Ok(self.replayed(&job)),
            Ok(Stored::New(_)) | Err(SubmitError::QueueFull) => Err(exceeded.into()),
            Err(error) => Err(error),
        };
        // The client may have left.
        let _ = reply.send(answer);
    }

    /// Executes a new job from its start, and stores it meanwhile.
    async fn start(
        self: Arc<Self>,
        begin: Begin,
        submission: Submission,
        in_flight: Option<InFlightSlot>,
        hold: Option<Duration>,
        slot: RunSlot,
    ) {
        let Submission {
            job,
            reply,
            token: _token,
        } = submission;
        // Because it may exist already, or the store may refuse it.
        let is_stored_first = job.idempotency.is_some()
            || self.in_flight.owner_limits(job.owner.as_ref()) != OwnerLimits::default()
            || self.store_health.is_doubtful(&*self.host);
        let hold = hold.filter(|_| !is_stored_first);
        let created_at = job.created_at;
        let execution = Execution::of_new(&self, job, in_flight);
        let run = execution.run();
        let stored = pin!(self.store_when_wanted(run, created_at, hold, reply));
        let executed = pin!(async {
            if is_stored_first {
                run.record.lease().await;
            }
            execution.to_its_end(begin).await
        });
        let both = async {
            // In this order: the store is at work before the first prompt is made.
            match select(stored, executed).await {
                Either::Left((Ok(()), executed)) => executed.await,
                Either::Left((Err(NotHere), _)) => None,
                Either::Right((end, stored)) => stored.await.ok().and(end),
            }
        };
        let end = tokio::select! {
            biased;
            () = self.lifecycle.stopped.cancelled() => None,
            end = both => end,
        };
        execution.leave(end, Some(slot));
    }

    /// Stores the job of a run when somebody wants its lease, at the latest after `hold`, unless it
    /// is stored with its end before; then answers its client.
    async fn store_when_wanted(
        &self,
        run: &Arc<LiveRun>,
        created_at: Timestamp,
        hold: Option<Duration>,
        reply: Reply,
    ) -> Result<(), NotHere> {
        if let Some(hold) = hold {
            tokio::select! {
                biased;
                () = run.record.wanted() => {}
                () = self.host.sleep(hold) => {}
            }
        }
        let accepted = Accepted::new(run.id(), created_at, Some(run.clone()));
        let Some((job, storing)) = run.record.begin_storing() else {
            let stored = run.record.end_stored().await;
            // The client may have left.
            let _ = reply.send(stored.map(|()| accepted).map_err(SubmitError::from));
            return Ok(());
        };
        let arrival = self.runs.arrival(run.id());
        let options = SubmitOptions {
            claim: Some(arrival.replica()),
            max_pending: self.settings.max_queued,
            owner_limits: self.in_flight.owner_limits(job.owner.as_ref()),
        };
        let account = self.in_flight.account_of(job.owner.as_ref());
        let mut is_here = Err(NotHere);
        let answer = match self.outcome(self.store.submit(*job, options).await) {
            Ok(Stored::New(claimed)) => {
                if let Some(account) = account {
                    account.accepted();
                }
                if let Some(claimed) = claimed {
                    storing.stored(claimed.lease);
                    self.register(run);
                    is_here = Ok(());
                } else {
                    storing.refused();
                    self.job_waits();
                }
                Ok(accepted)
            }
            Ok(Stored::Earlier(job)) => {
                storing.refused();
                Ok(self.replayed(&job))
            }
            Err(error) => {
                storing.refused();
                Err(error)
            }
        };
        drop(arrival);
        // The client may have left; the job is accepted all the same.
        let _ = reply.send(answer);
        is_here
    }

    /// What became of a submission. Given the store's answer and not the job: a future that held
    /// the job would be larger by that.
    fn outcome(&self, answer: Result<Submitted, Error>) -> Result<Stored, SubmitError> {
        match answer {
            Ok(Submitted::New(claimed)) => Ok(Stored::New(claimed)),
            Ok(Submitted::Existing(job)) => Ok(Stored::Earlier(job)),
            Ok(Submitted::Forgotten { job, status }) => Err(SubmitError::Forgotten { job, status }),
            Ok(Submitted::KeyReused) => Err(SubmitError::KeyReused),
            Err(error) => {
                self.store_health.note(&error, &*self.host);
                Err(error.into())
            }
        }
    }

    fn replayed(&self, job: &Job) -> Accepted {
        Accepted {
            id: job.id,
            replayed: true,
            ended: job.status.is_final().then_some(job.status),
            created_at: job.created_at,
            run: self.runs.get(job.id),
        }
    }
}
