//! The verbs that are committed together, and their answers.

use crate::job::{Ending, Job, JobId, NewJob, Status};
use crate::json::Json;
use crate::store::{Error, Lease, OwnerLimits, ReplicaId, StoredEvent, Submitted};

#[derive(Debug)]
pub(super) enum Verb {
    Submit(Box<Submission>),
    Checkpoint(Checkpoint),
    Finish(Box<Finish>),
    /// Shows that something can be committed.
    Ping,
}

/// A job to store, with its end or without.
#[derive(Debug)]
pub(super) struct Submission {
    /// Its times are whole microseconds, as they will be read back.
    pub(super) new: NewJob,
    pub(super) claim: Option<ReplicaId>,
    pub(super) max_pending: Option<usize>,
    pub(super) owner_limits: OwnerLimits,
    pub(super) ended: Option<Ended>,
}

#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: Status,
    pub(super) ending: Ending,
    pub(super) events: Vec<StoredEvent>,
}

#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) lease: Lease,
    pub(super) progress: Option<Json>,
    pub(super) events: Vec<StoredEvent>,
}

#[derive(Debug)]
pub(super) struct Finish {
    pub(super) lease: Lease,
    pub(super) status: Status,
    pub(super) ending: Ending,
    pub(super) events: Vec<StoredEvent>,
}

/// What a verb gives back.
#[derive(Debug)]
pub(super) enum Answer {
    Submitted(Submitted),
    Ended(Box<Job>),
    Done,
}

pub(super) type Outcome = Result<Answer, Error>;

impl Verb {
    /// The job that it changes. Two verbs of one job are not committed together.
    pub(super) fn job(&self) -> Option<JobId> {
        match self {
            Self::Submit(submission) => Some(submission.new.id),
            Self::Checkpoint(checkpoint) => Some(checkpoint.lease.job),
            Self::Finish(finish) => Some(finish.lease.job),
            Self::Ping => None,
        }
    }

    /// The idempotency key that it uses: scope and key. Two verbs of one key are not committed
    /// together, either.
    pub(super) fn key(&self) -> Option<(&str, &str)> {
        match self {
            Self::Submit(submission) => {
                let key = submission.new.idempotency.as_ref()?;
                Some((&key.scope, &key.key))
            }
            Self::Checkpoint(_) | Self::Finish(_) | Self::Ping => None,
        }
    }
}

impl Submission {
    /// Whether something has to be read before it is known whether the job may be stored.
    pub(super) fn has_conditions(&self) -> bool {
        self.new.idempotency.is_some() || self.limited_owner().is_some() || self.bound().is_some()
    }

    /// The owner, if that may not have as many jobs as it likes.
    pub(super) fn limited_owner(&self) -> Option<&str> {
        let owner = self.new.owner.as_deref()?;
        (self.owner_limits != OwnerLimits::default()).then_some(owner)
    }

    /// Most jobs in the queue, if that matters to it.
    pub(super) fn bound(&self) -> Option<usize> {
        self.max_pending.filter(|_| self.claim.is_none())
    }
}
