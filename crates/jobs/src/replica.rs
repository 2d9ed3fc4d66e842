//! Replicas: the processes that work on the jobs of a store, and how a store knows that they live.
//!
//! A replica has one lease for all its jobs. It registers, beats while it lives, and leaves. One that
//! has not beaten for as long as its lease lasts is declared dead by the next claim of another one;
//! from then on it is fenced: its beats are refused, and its jobs go to others. A process that is
//! fenced, or starts again, registers under a fresh id, so that nothing of an earlier life is taken
//! for its own.
//!
//! A job whose replica is not registered, or was declared dead, has *lapsed*: any replica may claim
//! it. Until one does, its replica may still write to it, since nobody else has begun.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::id::JobId;
pub use crate::id::ReplicaId;

/// What a replica holds while it runs a job. Every write through a lease checks all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The leased job.
    pub job: JobId,
    /// Fencing token: rises with every claim of the job, and writes with an older one are refused.
    pub token: u64,
    /// Whose it is. A token alone is not enough: after a failover that lost commits, tokens repeat.
    pub replica: ReplicaId,
}

/// A replica as it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Fresh for each registration.
    pub id: ReplicaId,
    /// For people: the name of its host and its process.
    pub name: Arc<str>,
    /// The version of the program.
    pub version: Arc<str>,
    /// It claims no job that needs a higher level; see [`NewJob::level`](crate::job::NewJob::level).
    pub level: u32,
    /// How long it counts as alive without a beat.
    pub lease_for: Duration,
}

/// What a replica says with a beat.
#[derive(Debug, Clone, Copy)]
pub struct Renewal<'a> {
    /// How long it counts as alive from now on.
    pub lease_for: Duration,
    /// It is shutting down and claims nothing any more.
    pub is_draining: bool,
    /// The leases that it knows of.
    pub leases: &'a [Lease],
}

/// What a replica learns by a beat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Of the leases it named, those that hold no longer: its runs under them must stop.
    pub lost: Vec<Lease>,
    /// Of the leases it named, those whose jobs were asked to stop.
    pub cancelling: Vec<JobId>,
    /// Leases that it holds and did not name: the answer to a claim or a submission may have been
    /// lost, or it is still on its way.
    pub unnamed: Vec<Lease>,
}

/// A replica that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaState {
    /// Its id.
    pub id: ReplicaId,
    /// As registered.
    pub name: Arc<str>,
    /// As registered.
    pub version: Arc<str>,
    /// Jobs that it holds.
    pub running: usize,
    /// It is shutting down and claims nothing any more.
    pub is_draining: bool,
    /// When it counts as dead unless it beats again.
    pub lease_until: Timestamp,
}
