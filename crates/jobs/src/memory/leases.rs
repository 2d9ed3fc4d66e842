//! Who holds the jobs that run, and claims of jobs.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::record::Record;
use super::tables::Tables;
use crate::job::{Job, JobId, Status, Transition};
use crate::replicas::compare;
use crate::store::{Beat, Claimed, Error, Lease, Renewal, ReplicaId};

impl Tables {
    /// Before a claim: declares replicas dead and has parked jobs wake whose time has come. Returns
    /// whether the claimant is alive.
    pub(super) fn begin_claim(&mut self, by: ReplicaId, now: Timestamp) -> bool {
        if self.replicas.declare_dead(by, now) {
            self.forget_idle_dead();
        }
        self.wake_due(now);
        self.replicas.is_alive(by)
    }

    pub(super) fn declare_all_dead(&mut self) {
        self.replicas.declare_all_dead();
        self.forget_idle_dead();
    }

    pub(super) fn deregister(&mut self, id: ReplicaId) {
        self.replicas.deregister(id);
        self.forget_idle_dead();
    }

    /// What replicas that are not alive hold is kept for as long as they hold something.
    fn forget_idle_dead(&mut self) {
        let replicas = &self.replicas;
        self.held_by
            .retain(|replica, jobs| !jobs.is_empty() || replicas.is_holder_alive(*replica));
    }

    /// Jobs that have lapsed, the oldest first.
    pub(super) fn lapsed(&self) -> Vec<JobId> {
        let lapsed = self.held_by.iter();
        let lapsed = lapsed.filter(|(replica, _)| !self.replicas.is_holder_alive(**replica));
        let mut lapsed: Vec<JobId> = lapsed.flat_map(|(_, jobs)| jobs).copied().collect();
        lapsed.sort_unstable();
        lapsed
    }

    /// Jobs that run.
    pub(super) fn held(&self) -> usize {
        self.held_by.values().map(BTreeSet::len).sum()
    }

    pub(super) fn held_by(&self, replica: ReplicaId) -> impl Iterator<Item = &Record> {
        let jobs = self.held_by.get(&Some(replica)).into_iter().flatten();
        jobs.filter_map(|id| self.jobs.get(id).map(Box::as_ref))
    }

    /// Notes whose a job is from now on, which runs.
    fn hold(&mut self, id: JobId, replica: Option<ReplicaId>) {
        self.held_by.entry(replica).or_default().insert(id);
    }

    /// A job does not run any more, or is about to run elsewhere.
    pub(super) fn let_go(&mut self, id: JobId, replica: Option<ReplicaId>) {
        if let Some(jobs) = self.held_by.get_mut(&replica) {
            jobs.remove(&id);
            if jobs.is_empty() && !self.replicas.is_holder_alive(replica) {
                self.held_by.remove(&replica);
            }
        }
    }

    pub(super) fn beat(
        &mut self,
        by: ReplicaId,
        renewal: Renewal<'_>,
        now: Timestamp,
    ) -> Result<Beat, Error> {
        self.replicas.beat(by, renewal, now)?;
        let held = self.held_by(by).map(|record| {
            let is_cancelling = record.head.status == Status::Cancelling;
            (record.head.id, (record.token, is_cancelling))
        });
        Ok(compare(by, renewal.leases, held.collect()))
    }

    pub(super) fn claim_all(
        &mut self,
        due: Vec<JobId>,
        by: ReplicaId,
        now: Timestamp,
    ) -> Vec<Claimed> {
        due.into_iter()
            .filter_map(|id| self.claim(id, by, now))
            .collect()
    }

    /// Leases a job that is queued or parked, or has lapsed.
    pub(super) fn claim(&mut self, id: JobId, by: ReplicaId, now: Timestamp) -> Option<Claimed> {
        let record = self.jobs.get_mut(&id)?;
        let holder = record.holder;
        let was_lost = matches!(record.head.status, Status::Running | Status::Cancelling);
        let wakes_at = record.wakes_at();
        let lease = record.claim(by, now)?;
        let wake_ups = record.hand_out_wake_ups();
        let claimed = record.claimed(lease, was_lost, wake_ups);
        self.dequeue(&claimed.job);
        self.leave_waiting(id, wakes_at);
        if was_lost {
            self.let_go(id, holder);
        }
        self.hold(id, Some(by));
        Some(claimed)
    }

    /// The record of a job whose lease is still valid.
    pub(super) fn leased(&mut self, lease: &Lease) -> Result<&mut Record, Error> {
        self.jobs
            .get_mut(&lease.job)
            .map(Box::as_mut)
            .filter(|record| {
                record.is_of(lease)
                    && matches!(record.head.status, Status::Running | Status::Cancelling)
            })
            .ok_or(Error::LeaseLost(lease.job))
    }

    /// The job that was ended under that lease, if it was.
    pub(super) fn ended_before(&self, lease: &Lease) -> Option<Job> {
        let record = self.jobs.get(&lease.job)?;
        let is_it = record.is_of(lease) && record.head.status.is_final();
        is_it.then(|| record.job())
    }

    /// A job that was asked to stop is of nobody then, and has lapsed.
    pub(super) fn hand_back(&mut self, lease: &Lease) -> Result<(), Error> {
        let record = self.leased(lease)?;
        let status = record.head.status.after(Transition::HandBack);
        let status = status.ok_or(Error::LeaseLost(lease.job))?;
        record.give_up_lease();
        record.starts -= 1;
        record.head.status = status;
        self.let_go(lease.job, Some(lease.replica));
        if status == Status::Pending {
            self.enqueue(lease.job);
        } else {
            self.hold(lease.job, None);
        }
        Ok(())
    }
}
