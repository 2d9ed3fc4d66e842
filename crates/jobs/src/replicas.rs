//! The replicas of a store that one process has to itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::id::JobId;
use crate::replica::{Beat, Lease, Renewal, Replica, ReplicaId, ReplicaState};
use crate::store::{Error, later};

/// All that are alive.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    alive: BTreeMap<ReplicaId, Alive>,
}

#[derive(Debug)]
struct Alive {
    name: Arc<str>,
    version: Arc<str>,
    is_draining: bool,
    registered_at: Timestamp,
    lease_until: Timestamp,
}

impl Replicas {
    pub(crate) fn register(&mut self, replica: &Replica, now: Timestamp) {
        let before = self.alive.get(&replica.id);
        let alive = Alive {
            name: replica.name.clone(),
            version: replica.version.clone(),
            is_draining: false,
            registered_at: before.map_or(now, |before| before.registered_at),
            lease_until: later(now, replica.lease_for),
        };
        self.alive.insert(replica.id, alive);
    }

    pub(crate) fn beat(
        &mut self,
        id: ReplicaId,
        renewal: Renewal<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let alive = self.alive.get_mut(&id).ok_or(Error::Fenced(id))?;
        alive.lease_until = later(now, renewal.lease_for);
        alive.is_draining = renewal.is_draining;
        Ok(())
    }

    pub(crate) fn deregister(&mut self, id: ReplicaId) {
        self.alive.remove(&id);
    }

    /// For a process that knows that there is no other.
    pub(crate) fn declare_all_dead(&mut self) {
        self.alive.clear();
    }

    /// Declares those dead whose lease had ended by then, but not the one that asks. Returns whether
    /// there were any.
    pub(crate) fn declare_dead(&mut self, by: ReplicaId, now: Timestamp) -> bool {
        let before = self.alive.len();
        self.alive
            .retain(|id, alive| *id == by || alive.lease_until > now);
        self.alive.len() < before
    }

    pub(crate) fn is_alive(&self, id: ReplicaId) -> bool {
        self.alive.contains_key(&id)
    }

    /// The same of the replica that holds a job, if any does.
    pub(crate) fn is_holder_alive(&self, holder: Option<ReplicaId>) -> bool {
        holder.is_some_and(|holder| self.is_alive(holder))
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ReplicaId> {
        self.alive.keys().copied()
    }

    /// `running` tells how many jobs a replica holds.
    pub(crate) fn states(&self, running: impl Fn(ReplicaId) -> usize) -> Vec<ReplicaState> {
        let state = |(id, alive): (&ReplicaId, &Alive)| ReplicaState {
            id: *id,
            name: alive.name.clone(),
            version: alive.version.clone(),
            running: running(*id),
            is_draining: alive.is_draining,
            lease_until: alive.lease_until,
        };
        let mut alive: Vec<_> = self.alive.iter().collect();
        alive.sort_by_key(|(_, alive)| alive.registered_at);
        alive.into_iter().map(state).collect()
    }
}

/// What a beat tells a replica. `held` are the jobs that the store has as held by it: the token of
/// the lease, and whether the job was asked to stop.
pub(crate) fn compare(
    id: ReplicaId,
    named: &[Lease],
    mut held: BTreeMap<JobId, (u64, bool)>,
) -> Beat {
    let mut beat = Beat::default();
    // A run may still be stopping while the same replica has its job again: two leases of one job.
    let (still_held, lost): (Vec<Lease>, Vec<Lease>) = named.iter().partition(|lease| {
        let token = held.get(&lease.job).map(|(token, _)| *token);
        token == Some(lease.token) && lease.replica == id
    });
    beat.lost = lost;
    for lease in still_held {
        if let Some((_, true)) = held.remove(&lease.job) {
            beat.cancelling.push(lease.job);
        }
    }
    beat.unnamed
        .extend(held.into_iter().map(|(job, (token, _))| Lease {
            job,
            token,
            replica: id,
        }));
    beat
}
