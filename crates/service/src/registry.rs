//! The runs of this process: which there are, and which are about to come.
//!
//! Their leases must be renewed before the worker claims what has lapsed, or a process would take
//! its own runs for those of a dead one. Two things get in the way, and the registry keeps both:
//!
//! - A job that is being stored has a lease before its run is here. It is an [`Arrival`] from
//!   before the commit until its run is registered, so the worker waits where one takes long, and a
//!   lease granted during a claim is still good at the time of that claim
//!   ([`RunRegistry::claiming`]).
//! - A run may come with a lease that is half over ([`RunRegistry::has_old_leases`]).
//!
//! A cancel may come while a job is claimed and its run is not here yet; it is kept for it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::host::Host;
use jiff::Timestamp;
use jobs::job::JobId;
use jobs::store::{Claimant, later};

use crate::live::LiveRun;

#[derive(Debug)]
pub(crate) struct RunRegistry {
    claimant: Claimant,
    host: Arc<dyn Host>,
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    here: BTreeMap<JobId, Arc<LiveRun>>,
    /// How many of them each workflow has.
    by_workflow: BTreeMap<Arc<str>, usize>,
    /// Jobs that were cancelled while they were not here: one may have been claimed and be about to
    /// come.
    cancelled: HashSet<JobId>,
    /// Jobs that are being stored and claimed, by the time from which their leases count.
    arriving: BTreeSet<(Timestamp, JobId)>,
    /// The time by which leases are being claimed at the moment.
    claiming_at: Option<Timestamp>,
    /// A run came whose lease was half over.
    has_old_leases: bool,
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
    at: Timestamp,
    /// Whom the job is to be claimed for.
    claimant: Claimant,
}

impl Arrival<'_> {
    pub(crate) fn claimant(&self) -> Claimant {
        self.claimant.clone()
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.registry.runs().arriving.remove(&(self.at, self.id));
    }
}

/// Leases that had lapsed by some time are being claimed.
#[derive(Debug)]
pub(crate) struct Claiming<'a>(&'a RunRegistry);

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        self.0.runs().claiming_at = None;
    }
}

impl RunRegistry {
    pub(crate) fn new(claimant: Claimant, host: Arc<dyn Host>) -> Self {
        Self {
            claimant,
            host,
            runs: Mutex::default(),
        }
    }

    /// Whom jobs are claimed for.
    pub(crate) fn claimant(&self) -> &Claimant {
        &self.claimant
    }

    /// The run of a job, where it is here.
    pub(crate) fn get(&self, id: JobId) -> Option<Arc<LiveRun>> {
        self.runs().here.get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<LiveRun>> {
        self.runs().here.values().cloned().collect()
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
        if let Some(lease) = run.record.granted() {
            let half_over = later(self.host.now(), self.claimant.lease_for / 2);
            runs.has_old_leases |= lease.expires_at < half_over;
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

    /// Leases are about to be renewed: runs that come from now on learn of a cancel by their claim
    /// or by the next renewal.
    pub(crate) fn begin_renewal(&self) {
        let mut runs = self.runs();
        runs.cancelled.clear();
        runs.has_old_leases = false;
    }

    /// Whether a run has come whose lease was half over, and no renewal has begun since.
    pub(crate) fn has_old_leases(&self) -> bool {
        self.runs().has_old_leases
    }

    /// A job is about to be stored, with a lease from that time on. The clock may have been set
    /// back since a claim that is under way was made: the lease must not have lapsed by the time of
    /// that claim.
    pub(crate) fn arrival(&self, id: JobId, at: Timestamp) -> Arrival<'_> {
        let mut runs = self.runs();
        runs.arriving.insert((at, id));
        let set_back = runs
            .claiming_at
            .and_then(|claiming_at| Duration::try_from(claiming_at.duration_since(at)).ok());
        Arrival {
            registry: self,
            id,
            at,
            claimant: Claimant {
                lease_for: self.claimant.lease_for + set_back.unwrap_or_default(),
                ..self.claimant.clone()
            },
        }
    }

    /// When the job that has been arriving for the longest time began to.
    pub(crate) fn oldest_arrival(&self) -> Option<Timestamp> {
        self.runs().arriving.first().map(|(at, _)| *at)
    }

    /// Leases that had lapsed by that time are claimed until the answer is dropped.
    pub(crate) fn claiming(&self, at: Timestamp) -> Claiming<'_> {
        self.runs().claiming_at = Some(at);
        Claiming(self)
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::test_clock::TestClock;

    const LEASE: Duration = Duration::from_secs(30);

    fn registry() -> RunRegistry {
        let claimant = Claimant {
            worker: "here".into(),
            lease_for: LEASE,
        };
        RunRegistry::new(claimant, Arc::new(TestClock::default()))
    }

    fn id(number: u128) -> JobId {
        JobId(Uuid::from_u128(number))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_job_arrives_until_its_arrival_is_dropped() {
        let registry = registry();
        let later = registry.arrival(id(1), at(7));
        let earlier = registry.arrival(id(2), at(5));
        assert_eq!(registry.oldest_arrival(), Some(at(5)));
        drop(earlier);
        assert_eq!(registry.oldest_arrival(), Some(at(7)));
        drop(later);
        assert_eq!(registry.oldest_arrival(), None);
    }

    #[test]
    fn a_lease_that_begins_during_a_claim_outlasts_the_time_of_the_claim() {
        let registry = registry();
        let claiming = registry.claiming(at(100));
        // The clock was set back by 40 seconds since the claim began.
        let arrival = registry.arrival(id(1), at(60));
        assert_eq!(
            arrival.claimant().lease_for,
            LEASE + Duration::from_secs(40)
        );
        let arrival = registry.arrival(id(2), at(101));
        assert_eq!(arrival.claimant().lease_for, LEASE, "it was not set back");
        drop(claiming);
        let arrival = registry.arrival(id(3), at(60));
        assert_eq!(arrival.claimant().lease_for, LEASE, "no claim is under way");
    }
}
