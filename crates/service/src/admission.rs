//! Accepting a job: storing it, and where a slot is free starting it meanwhile.
//!
//! A run that nobody could have asked for before begins while its job is being committed: its first
//! model call is under way when the store answers. Nothing of it can be stored or told until then
//! ([`LiveRun::lease`](crate::live::LiveRun::lease)), and if the store refuses the job the run is dropped.
//! With an idempotency key it waits for the commit, which tells whether the run exists already; and while
//! the store is known to fail, since it would be paid for in vain.
//!
//! A run that somebody waits for need not be stored before anybody is told of it. So its job is stored when
//! it wants to save something, when whoever waits loses patience, or after [`HOLD`]; if it ends before, once,
//! with its end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engine::run::Start;
use futures_util::future::{Either, select};
use jobs::job::{Job, NewJob};
use jobs::store::{Error, SubmitOptions, Submitted};
use tokio::sync::oneshot;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::catalog::LoadedWorkflow;
use crate::execution::{Begin, Execution};
use crate::inline_run::{Detachable, InlineRun};
use crate::limits::{Exceeded, InFlightSlot};
use crate::live::{LiveRun, Unstored};
use crate::registry::Arrival;
use crate::shared::Shared;
use crate::slots::RunSlot;
use crate::submission::{Accepted, SubmitError};

/// Longest time for which a run that somebody waits for is not stored.
const HOLD: Duration = Duration::from_millis(100);

type Answer = oneshot::Receiver<Result<Accepted, SubmitError>>;

/// The job is not executed here and now; whoever asked for it has been told.
struct NotHere;

impl Shared {
    /// Stores a job and starts it where a slot is free. A caller that goes away before it is told must not
    /// leave a job that is stored and has nobody to run it: the work is done without it.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        workflow: &Arc<LoadedWorkflow>,
        job: Box<NewJob>,
        start: Start,
    ) -> Result<Accepted, SubmitError> {
        let (work, answer) = self.begin(workflow, job, start, None)?;
        // It goes on by itself.
        drop(work);
        answer.await.unwrap_or(Err(SubmitError::Draining))
    }

    /// As [`admit`](Self::admit), for a caller who does the work while it waits, for as long as it has
    /// patience.
    pub(crate) async fn admit_inline(
        self: &Arc<Self>,
        workflow: &Arc<LoadedWorkflow>,
        job: Box<NewJob>,
        start: Start,
        patience: Duration,
    ) -> Result<InlineRun, SubmitError> {
        let hold = job.idempotency.is_none().then(|| patience.min(HOLD));
        let (mut work, answer) = self.begin(workflow, job, start, hold)?;
        let answer = work.until(answer).await;
        let accepted = answer.unwrap_or(Err(SubmitError::Draining))?;
        Ok(InlineRun {
            accepted,
            rest: work,
        })
    }

    fn begin(
        self: &Arc<Self>,
        workflow: &Arc<LoadedWorkflow>,
        job: Box<NewJob>,
        start: Start,
        hold: Option<Duration>,
    ) -> Result<(Detachable, Answer), SubmitError> {
        let submission = self.lifecycle.begin_submission();
        let submission = submission.ok_or(SubmitError::Draining)?;
        let slot = self.slots.take_for_new();
        let in_flight = match self.in_flight.account_of(job.owner.as_ref()) {
            None => Ok(None),
            Some(account) => InFlightSlot::take(&account, slot.is_none()).map(Some),
        };
        let in_flight = match in_flight {
            // What it repeats was let in before.
            Err(_) if job.idempotency.is_some() => in_flight,
            Err(exceeded) => return Err(exceeded.into()),
            Ok(_) => in_flight,
        };
        let (reply, answer) = oneshot::channel();
        let (shared, workflow) = (self.clone(), workflow.clone());
        let unstored = Unstored { job, reply };
        // Each as it is: a future is large, and to make another around it would copy it.
        let tasks = self.lifecycle.tasks.clone();
        let work = match (in_flight, slot) {
            (Err(exceeded), _) => {
                Detachable::new(tasks, shared.find_earlier(unstored, exceeded, submission))
            }
            (Ok(in_flight), Some(slot)) => {
                let begin = (workflow, start);
                Detachable::new(
                    tasks,
                    shared.start(begin, unstored, in_flight, hold, slot, submission),
                )
            }
            (Ok(in_flight), None) => {
                Detachable::new(tasks, shared.enqueue(unstored, in_flight, submission))
            }
        };
        Ok((work, answer))
    }

    async fn enqueue(
        self: Arc<Self>,
        unstored: Unstored,
        in_flight: Option<InFlightSlot>,
        _submission: TaskTrackerToken,
    ) {
        // Before it can be claimed.
        if let Some(in_flight) = in_flight {
            self.in_flight.queue(unstored.job.id, in_flight);
        }
        // In both cases it has been told.
        let (Ok(()) | Err(NotHere)) = self.submit(unstored, None).await;
    }

    /// For a repeated request whose key may not start another run: the run that there is.
    async fn find_earlier(
        self: Arc<Self>,
        Unstored { job, reply }: Unstored,
        exceeded: Exceeded,
        _submission: TaskTrackerToken,
    ) {
        let options = SubmitOptions {
            claim: None,
            // So that only a job that is there already is found.
            max_pending: Some(0),
        };
        let answer = match self.store.submit(*job, options).await {
            Ok(Submitted::Existing(job)) => Ok(self.replayed(&job)),
            Ok(Submitted::Forgotten { job, status }) => Err(SubmitError::Forgotten { job, status }),
            Ok(Submitted::KeyReused) => Err(SubmitError::KeyReused),
            Ok(Submitted::New(_)) | Err(Error::QueueFull { .. }) => Err(exceeded.into()),
            Err(error) => Err(self.refused(error)),
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    /// A job that was not stored.
    fn refused(&self, error: Error) -> SubmitError {
        self.store_health.note(&error, &*self.host);
        error.into()
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

    async fn start(
        self: Arc<Self>,
        begin: Begin,
        unstored: Unstored,
        in_flight: Option<InFlightSlot>,
        hold: Option<Duration>,
        slot: RunSlot,
        _submission: TaskTrackerToken,
    ) {
        let execution = Execution::of_new(&self, &unstored.job, in_flight);
        let run = execution.run();
        // Because it may exist already, or the store may refuse it.
        let is_stored_first =
            unstored.job.idempotency.is_some() || self.store_health.is_doubtful(&*self.host);
        let hold = hold.filter(|_| !is_stored_first);
        run.hold(unstored);
        let stored = pin!(async {
            if let Some(hold) = hold {
                tokio::select! {
                    biased;
                    () = run.lease_wanted() => {}
                    () = self.host.sleep(hold) => {}
                }
            }
            match run.take_unstored() {
                Some(unstored) => self.submit(unstored, Some(run)).await,
                // With its end.
                None => Ok(()),
            }
        });
        let executed = pin!(async {
            if is_stored_first {
                run.lease().await;
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

    /// Stores a job, for the run if there is one, and tells whoever asked for it.
    async fn submit(&self, unstored: Unstored, run: Option<&Arc<LiveRun>>) -> Result<(), NotHere> {
        let Unstored { job, reply } = unstored;
        let accepted = Accepted::new(&job, run.cloned());
        let (id, created_at) = (job.id, job.created_at);
        let arrival = run.map(|_| self.runs.arrival(id, created_at));
        let options = SubmitOptions {
            claim: arrival.as_ref().map(Arrival::claimant),
            max_pending: self.settings.max_queued,
        };
        let account = self.in_flight.account_of(job.owner.as_ref());
        let mut here = Err(NotHere);
        let answer = match self.store.submit(*job, options).await {
            Ok(Submitted::New(claimed)) => {
                if let Some(account) = account {
                    account.accepted();
                }
                if let (Some(claimed), Some(run)) = (claimed, run) {
                    run.grant(claimed.lease);
                    self.runs.register(run);
                    here = Ok(());
                } else {
                    self.slots.job_waits();
                }
                Ok(accepted)
            }
            Ok(Submitted::Existing(job)) => Ok(self.replayed(&job)),
            Ok(Submitted::Forgotten { job, status }) => Err(SubmitError::Forgotten { job, status }),
            Ok(Submitted::KeyReused) => Err(SubmitError::KeyReused),
            Err(error) => Err(self.refused(error)),
        };
        if run.is_none() && !answer.as_ref().is_ok_and(|accepted| !accepted.replayed) {
            self.in_flight.dequeue(id);
        }
        drop(arrival);
        // Whoever asked may have gone; the job is accepted all the same.
        let _ = reply.send(answer);
        here
    }
}
