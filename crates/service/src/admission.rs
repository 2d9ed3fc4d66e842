//! Accepting a job: storing it, and where a slot is free starting it meanwhile.
//!
//! A run that nobody could have asked for before begins while its job is being committed: its first
//! model call is under way when the store answers. Nothing of it can be stored or told until then
//! ([`LiveRun::lease`](crate::live::LiveRun::lease)), and if the store refuses the job the run is dropped.
//! With an idempotency key it waits for the commit, which tells whether the run exists already.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::run::Start;
use futures_util::future::try_join;
use jobs::job::{Job, NewJob};
use jobs::store::{Error, SubmitOptions, Submitted};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::attended::{Attended, Work};
use crate::catalog::LoadedWorkflow;
use crate::execution::{Begin, Execution};
use crate::limits::{Exceeded, Place};
use crate::live::LiveRun;
use crate::runs::{Accepted, SubmitError};
use crate::service::Shared;

type Reply = oneshot::Sender<Result<Accepted, SubmitError>>;
type Answer = oneshot::Receiver<Result<Accepted, SubmitError>>;

/// The job is not executed here and now; whoever asked for it has been told.
struct NotHere;

impl Shared {
    /// Stores a job and starts it where a slot is free. A caller that goes away before it is told must not
    /// leave a job that is stored and has nobody to run it: the work is done without it.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        workflow: &Arc<LoadedWorkflow>,
        job: NewJob,
        start: Start,
    ) -> Result<Accepted, SubmitError> {
        let (work, answer) = self.begin(workflow, job, start)?;
        // It goes on by itself.
        drop(work);
        answer.await.unwrap_or(Err(SubmitError::Draining))
    }

    /// As [`admit`](Self::admit), for a caller who does the work while it waits.
    pub(crate) async fn admit_attended(
        self: &Arc<Self>,
        workflow: &Arc<LoadedWorkflow>,
        job: NewJob,
        start: Start,
    ) -> Result<Attended, SubmitError> {
        let (mut work, answer) = self.begin(workflow, job, start)?;
        let answer = work.until(answer).await;
        let accepted = answer.unwrap_or(Err(SubmitError::Draining))?;
        Ok(Attended { accepted, work })
    }

    fn begin(
        self: &Arc<Self>,
        workflow: &Arc<LoadedWorkflow>,
        job: NewJob,
        start: Start,
    ) -> Result<(Work, Answer), SubmitError> {
        // Taken before looking at `draining`: a drain that begins now waits for this submission.
        let submission = self.tasks.token();
        if self.is_draining() {
            return Err(SubmitError::Draining);
        }
        let slot = if self.backlog.load(Ordering::SeqCst) {
            None
        } else {
            self.slots.clone().try_acquire_owned().ok()
        };
        let place = match self.account_of(job.owner.as_ref()) {
            None => Ok(None),
            Some(account) => account.enter(slot.is_none()).map(Some),
        };
        let place = match place {
            // What it repeats was let in before.
            Err(_) if job.idempotency.is_some() => place,
            Err(exceeded) => return Err(exceeded.into()),
            Ok(_) => place,
        };
        let (reply, answer) = oneshot::channel();
        let (shared, workflow) = (self.clone(), workflow.clone());
        let work = Work::new(self.tasks.clone(), async move {
            match (place, slot) {
                (Err(exceeded), _) => shared.find_earlier(job, exceeded, reply).await,
                (Ok(place), Some(slot)) => {
                    let begin = (workflow, start);
                    shared.start(begin, job, place, slot, reply).await;
                }
                (Ok(place), None) => shared.enqueue(job, place, reply).await,
            }
            drop(submission);
        });
        Ok((work, answer))
    }

    async fn enqueue(&self, job: NewJob, place: Option<Place>, reply: Reply) {
        let (id, accepted) = (job.id, accepted(&job, None));
        // Before it can be claimed.
        if let Some(place) = place {
            self.waiting.put(id, place);
        }
        let options = SubmitOptions {
            claim: None,
            max_pending: self.settings.max_queued,
        };
        // In both cases it has been told.
        let (Ok(()) | Err(NotHere)) = self.submit(job, options, None, accepted, reply).await;
    }

    /// For a repeated request whose key may not start another run: the run that there is.
    async fn find_earlier(&self, job: NewJob, exceeded: Exceeded, reply: Reply) {
        let options = SubmitOptions {
            claim: None,
            // So that only a job that is there already is found.
            max_pending: Some(0),
        };
        let answer = match self.store.submit(job, options).await {
            Ok(Submitted::Existing(job)) => Ok(self.replayed(&job)),
            Ok(Submitted::KeyReused) => Err(SubmitError::KeyReused),
            Ok(Submitted::New(_)) | Err(Error::QueueFull { .. }) => Err(exceeded.into()),
            Err(error) => Err(error.into()),
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    fn replayed(&self, job: &Job) -> Accepted {
        Accepted {
            id: job.id,
            replayed: true,
            created_at: job.created_at,
            run: self.running(job.id),
        }
    }

    async fn start(
        self: &Arc<Self>,
        begin: Begin,
        job: NewJob,
        place: Option<Place>,
        slot: OwnedSemaphorePermit,
        reply: Reply,
    ) {
        let execution = Execution::of_new(self, &job, place);
        let options = SubmitOptions {
            claim: Some(self.arrives(job.id, job.created_at)),
            max_pending: self.settings.max_queued,
        };
        let may_exist = job.idempotency.is_some();
        let accepted = accepted(&job, Some(execution.run().clone()));
        let executed = async {
            if may_exist {
                execution.run().lease().await;
            }
            Ok(execution.to_its_end(begin).await)
        };
        // In this order: the store is at work before the first prompt is made.
        let both = try_join(
            self.submit(job, options, Some(execution.run()), accepted, reply),
            executed,
        );
        let end = tokio::select! {
            biased;
            () = self.stopped.cancelled() => None,
            both = both => both.map_or(None, |((), end)| end),
        };
        execution.leave(end, Some(slot));
    }

    /// Stores a job, for the run if there is one, and tells whoever asked for it.
    async fn submit(
        &self,
        job: NewJob,
        options: SubmitOptions,
        run: Option<&Arc<LiveRun>>,
        accepted: Accepted,
        reply: Reply,
    ) -> Result<(), NotHere> {
        let (id, created_at) = (job.id, job.created_at);
        let account = self.account_of(job.owner.as_ref());
        let mut here = Err(NotHere);
        let answer = match self.store.submit(job, options).await {
            Ok(Submitted::New(claimed)) => {
                if let Some(account) = account {
                    account.accepted();
                }
                if let (Some(claimed), Some(run)) = (claimed, run) {
                    run.grant(claimed.lease);
                    self.register(run);
                    here = Ok(());
                } else {
                    self.backlog.store(true, Ordering::SeqCst);
                    self.wake.notify_one();
                }
                Ok(accepted)
            }
            Ok(Submitted::Existing(job)) => Ok(self.replayed(&job)),
            Ok(Submitted::KeyReused) => Err(SubmitError::KeyReused),
            Err(error) => Err(error.into()),
        };
        if run.is_none() && !answer.as_ref().is_ok_and(|accepted| !accepted.replayed) {
            self.waiting.take(id);
        }
        self.has_arrived(id, created_at);
        // Whoever asked may have gone; the job is accepted all the same.
        let _ = reply.send(answer);
        here
    }
}

fn accepted(job: &NewJob, run: Option<Arc<LiveRun>>) -> Accepted {
    Accepted {
        id: job.id,
        replayed: false,
        created_at: job.created_at,
        run,
    }
}
