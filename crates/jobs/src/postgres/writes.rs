//! The verbs that are committed together.

use super::PostgresStore;
use super::commands::{Answer, Checkpoint, Ended, Finish, Submission, Verb};
use super::values::stored;
use crate::job::{End, Ending, Job, NewJob, Status, Transition};
use crate::json::Json;
use crate::store::{Error, Lease, OwnerLimits, ReplicaId, StoredEvent, SubmitOptions, Submitted};

impl PostgresStore {
    pub(super) async fn submit(
        &self,
        job: NewJob,
        options: SubmitOptions,
    ) -> Result<Submitted, Error> {
        let submission = Submission {
            new: as_stored(job),
            claim: options.claim,
            max_pending: options.max_pending,
            owner_limits: options.owner_limits,
            ended: None,
        };
        match self.writer.write(Verb::Submit(submission.into())).await? {
            Answer::Submitted(submitted) => Ok(submitted),
            other => unreachable!("a submission is answered as such, not with {other:?}"),
        }
    }

    pub(super) async fn submit_ended(
        &self,
        job: NewJob,
        by: ReplicaId,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        let status = Status::Running
            .after(Transition::End(ending.end))
            .ok_or(Error::NotCancelling(job.id))?;
        let submission = Submission {
            new: NewJob {
                idempotency: None,
                ..as_stored(job)
            },
            claim: Some(by),
            max_pending: None,
            owner_limits: OwnerLimits::default(),
            ended: Some(Ended {
                status,
                ending: at_stored_time(ending),
                events,
            }),
        };
        self.end(Verb::Submit(submission.into())).await
    }

    pub(super) async fn checkpoint(
        &self,
        lease: &Lease,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<(), Error> {
        let checkpoint = Checkpoint {
            lease: *lease,
            progress,
            events,
        };
        self.writer.write(Verb::Checkpoint(checkpoint)).await?;
        Ok(())
    }

    pub(super) async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        let finish = Finish {
            lease: *lease,
            status: match ending.end {
                End::Completed => Status::Completed,
                End::Failed => Status::Failed,
                End::Cancelled => Status::Cancelled,
            },
            ending: at_stored_time(ending),
            events,
        };
        self.end(Verb::Finish(finish.into())).await
    }

    async fn end(&self, verb: Verb) -> Result<Job, Error> {
        match self.writer.write(verb).await? {
            Answer::Ended(job) => Ok(*job),
            other => unreachable!("an ending is answered with its job, not with {other:?}"),
        }
    }

    /// Reads and writes on each connection of the writer.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        self.writer.ping().await
    }
}

fn as_stored(job: NewJob) -> NewJob {
    NewJob {
        created_at: stored(job.created_at),
        deadline: job.deadline.map(stored),
        ..job
    }
}

fn at_stored_time(ending: Ending) -> Ending {
    Ending {
        at: stored(ending.at),
        ..ending
    }
}
