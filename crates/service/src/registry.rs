//! The runs of this process: which there are, and which are about to come.
//!
//! A job that is being stored has a lease before its run is here. It is an [`Arrival`] from before the
//! commit until its run is registered, so that a beat that tells of its lease does not take the answer
//! for lost. Which jobs a claim gives is not known before its answer; that one is awaited is
//! ([`Claiming`]).
//!
//! A cancel may come while a job is claimed and its run is not here yet; it is kept for it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobs::job::JobId;
use jobs::store::{Lease, ReplicaId};

use crate::live::LiveRun;

#[derive(Debug)]
pub(crate) struct RunRegistry {
    runs: Mutex<Runs>,
}

#[derive(Debug)]
struct Runs {
    /// Whom jobs are claimed for.
    replica: ReplicaId,
    here: BTreeMap<JobId, Arc<LiveRun>>,
    /// How many of them each workflow has.
    by_workflow: BTreeMap<Arc<str>, usize>,
    /// Jobs that were cancelled while they were not here: one may have been claimed and be about to
    /// come.
    cancelled: HashSet<JobId>,
    /// Jobs that are being stored and claimed.
    arriving: HashSet<JobId>,
    /// The number of the claim whose answer is awaited.
    claim: Option<u64>,
    /// Claims so far.
    claims: u64,
}

impl Runs {
    fn count_down(&mut self, workflow: &Arc<str>) {
        if let Some(runs) = self.by_workflow.get_mut(workflow) {
            *runs -= 1;
            if *runs == 0 {
                self.by_workflow.remove(workflow);
            }
        }
    }
}

/// A job that is being stored with a lease, until its run is registered or the store has refused
/// it.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    registry: &'a RunRegistry,
    id: JobId,
    replica: ReplicaId,
}

impl Arrival<'_> {
    /// Whom the job is to be claimed for.
    pub(crate) fn replica(&self) -> ReplicaId {
        self.replica
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.registry.runs().arriving.remove(&self.id);
    }
}

/// A claim of jobs that wait, until the runs of those it gave are registered.
#[derive(Debug)]
pub(crate) struct Claiming<'a>(&'a RunRegistry);

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        self.0.runs().claim = None;
    }
}

impl RunRegistry {
    pub(crate) fn new(replica: ReplicaId) -> Self {
        Self {
            runs: Mutex::new(Runs {
                replica,
                here: BTreeMap::new(),
                by_workflow: BTreeMap::new(),
                cancelled: HashSet::new(),
                arriving: HashSet::new(),
                claim: None,
                claims: 0,
            }),
        }
    }

    /// Whom jobs are claimed for.
    pub(crate) fn replica(&self) -> ReplicaId {
        self.runs().replica
    }

    /// Jobs are claimed for this replica from now on.
    pub(crate) fn begin_anew(&self, replica: ReplicaId) {
        self.runs().replica = replica;
    }

    /// The run of a job, where it is here.
    pub(crate) fn get(&self, id: JobId) -> Option<Arc<LiveRun>> {
        self.runs().here.get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<LiveRun>> {
        self.runs().here.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs().here.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs().here.is_empty()
    }

    /// How many runs each workflow has here.
    pub(crate) fn by_workflow(&self) -> BTreeMap<Arc<str>, usize> {
        self.runs().by_workflow.clone()
    }

    /// Notes a run. An earlier one of the same job has lost its lease to it and stops.
    pub(crate) fn register(&self, run: &Arc<LiveRun>) {
        let mut runs = self.runs();
        if runs.cancelled.remove(&run.id()) {
            run.cancel.cancel();
        }
        let of_workflow = runs.by_workflow.entry(run.workflow().clone());
        *of_workflow.or_default() += 1;
        if let Some(earlier) = runs.here.insert(run.id(), run.clone()) {
            earlier.abandon.cancel();
            runs.count_down(earlier.workflow());
        }
    }

    /// Forgets a run, unless a later one of the same job has taken its place.
    pub(crate) fn unregister(&self, run: &Arc<LiveRun>) {
        let mut runs = self.runs();
        if runs
            .here
            .get(&run.id())
            .is_some_and(|current| Arc::ptr_eq(current, run))
        {
            runs.here.remove(&run.id());
            runs.count_down(run.workflow());
        }
    }

    /// Stops the run of a job that the store has as cancelling, even if it is not here quite yet.
    pub(crate) fn cancel(&self, id: JobId) {
        let mut runs = self.runs();
        match runs.here.get(&id) {
            Some(run) => run.cancel.cancel(),
            None => {
                runs.cancelled.insert(id);
            }
        }
    }

    /// Stops the run that holds a lease which is lost.
    pub(crate) fn lose(&self, lease: &Lease) {
        let run = self.get(lease.job);
        if let Some(run) = run.filter(|run| run.record.granted().as_ref() == Some(lease)) {
            run.abandon.cancel();
        }
    }

    /// A beat is about to name these leases: runs that come from now on learn of a cancel by their
    /// claim or by the next beat.
    pub(crate) fn begin_renewal(&self) -> Vec<Lease> {
        let mut runs = self.runs();
        runs.cancelled.clear();
        let here = runs.here.values();
        here.filter_map(|run| run.record.granted()).collect()
    }

    /// Whether the job of a lease is here, or about to come.
    pub(crate) fn knows(&self, lease: &Lease) -> bool {
        let runs = self.runs();
        let is_here = runs
            .here
            .get(&lease.job)
            .is_some_and(|run| run.record.granted().as_ref() == Some(lease));
        is_here || runs.arriving.contains(&lease.job)
    }

    /// A job is about to be stored, with a lease.
    pub(crate) fn arrival(&self, id: JobId) -> Arrival<'_> {
        let mut runs = self.runs();
        runs.arriving.insert(id);
        Arrival {
            registry: self,
            id,
            replica: runs.replica,
        }
    }

    /// Jobs are about to be claimed. One task does that.
    pub(crate) fn claiming(&self) -> Claiming<'_> {
        let mut runs = self.runs();
        runs.claims += 1;
        runs.claim = Some(runs.claims);
        Claiming(self)
    }

    /// The number of the claim whose answer is awaited, if there is one.
    pub(crate) fn awaited_claim(&self) -> Option<u64> {
        self.runs().claim
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_job_that_is_being_stored_is_known_until_its_arrival_is_dropped() {
        let replica = ReplicaId(Uuid::from_u128(1));
        let registry = RunRegistry::new(replica);
        let lease = Lease {
            job: JobId(Uuid::from_u128(2)),
            token: 1,
            replica,
        };
        assert!(!registry.knows(&lease));
        let arrival = registry.arrival(lease.job);
        assert_eq!(arrival.replica(), replica);
        assert!(registry.knows(&lease));
        drop(arrival);
        assert!(!registry.knows(&lease));
    }
}
