//! The store in memory: for tests, one-off runs, and servers that need no durability.
//!
//! One mutex guards one set of tables, and is never held across an await:
//!
//! - `jobs`: every record by id. Ids sort by creation, so a listing is this map walked backwards.
//!   From a job's end its payloads are one piece of memory.
//! - `pending`, and the same by workflow: ids in the queue; the smallest is the oldest.
//! - `waiting`: ids of parked jobs; `wake_times` has those that wake by themselves, by when.
//! - `deadlines`: of those in the queue and the parked ones, the ones with a deadline, by it.
//! - `replicas`: who is alive; `held_by` has the ids that run, by the replica that holds them.
//! - `ended`: ids that ended, by when: the order in which they are forgotten.
//! - `owed`: the same of those whose webhook is not settled; they are forgotten last.
//! - `due`: of those, when their webhook may be tried or, while somebody tries it, tried by
//!   another; by host.
//! - `keys`: idempotency keys; `outlived` has those of jobs that were forgotten, by their use.
//! - `definitions`: each text once, with the number of jobs that have it.
//!
//! API keys are in a list with a mutex of its own, and what they have spent in a map with another.
//!
//! So every verb costs O(log n) for each job it touches; only a listing also reads the jobs that
//! its filter leaves out. Ended jobs are kept within [`Limits`]. So memory is bounded by those and
//! by the unfinished jobs, whose number the caller bounds.

mod deliveries;
mod delivery;
mod due;
mod idempotency;
mod keys;
mod leases;
mod limits;
mod owners;
mod packed;
mod parking;
mod payloads;
mod record;
mod spend;
mod tables;
mod waiting;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::allotments::Allotments;
use crate::fairness;
use crate::job::{Definition, Ending, Job, JobId, NewJob, Status, Transition, Workload};
use crate::json::Json;
use crate::key::Keys;
use crate::parking::{Parked, Wait, WakeUp, Woken};
use crate::spend::{Day, Spent};
use crate::store::{
    Beat, CancelRequested, Claimed, Counts, Error, Filter, IDEMPOTENCY_KEPT, JobStore, Lease, Page,
    PageInProgress, Renewal, Replica, ReplicaId, ReplicaState, StoredEvent, SubmitOptions,
    Submitted, Tail, Unfinished, earlier,
};
use crate::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};
use record::Record;
use tables::Tables;

pub use limits::Limits;

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryStore {
    limits: Limits,
    tables: Mutex<Tables>,
    keys: Mutex<Keys>,
    sums: Mutex<Sums>,
}

/// What keys have spent.
#[derive(Debug, Default)]
struct Sums {
    by_day: BTreeMap<(Day, Arc<str>), Spent>,
    /// The number of the last batch of each writer, and the last day it was about.
    last_batches: BTreeMap<ReplicaId, (u64, Day)>,
    allotments: Allotments,
}

impl MemoryStore {
    /// Empty.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            tables: Mutex::default(),
            keys: Mutex::default(),
            sums: Mutex::default(),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables
            .lock()
            .expect("nothing panics while it holds the tables")
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    async fn submit(&self, job: NewJob, options: SubmitOptions) -> Result<Submitted, Error> {
        let mut tables = self.tables();
        if tables.jobs.contains_key(&job.id) {
            return Ok(tables.submitted_before(job.id, options.claim));
        }
        if let Some(idempotency) = &job.idempotency
            && let Some(found) = tables.find_key(idempotency, job.created_at)
        {
            return Ok(found);
        }
        let pending = tables.pending.len();
        if options.claim.is_none() && options.max_pending.is_some_and(|most| pending >= most) {
            return Err(Error::QueueFull { pending });
        }
        tables.admit_owner(&job, &options)?;
        let (id, now) = (job.id, job.created_at);
        tables.insert(job);
        let gone = tables.forget_beyond(&self.limits, now);
        let claimed = match options.claim {
            None => {
                tables.enqueue(id);
                None
            }
            Some(by) => tables.claim(id, by, now).map(Box::new),
        };
        drop(tables);
        drop(gone);
        Ok(Submitted::New(claimed))
    }

    async fn submit_ended(
        &self,
        job: NewJob,
        by: ReplicaId,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        let (now, at) = (job.created_at, ending.at);
        let definition = job.definition.clone();
        let unkeyed = NewJob {
            idempotency: None,
            ..job
        };
        let mut record = Box::new(Record::new(unkeyed, None));
        record.claim(by, now).expect("it waits");
        let job = record.finish(ending, events)?;
        let mut tables = self.tables();
        if let Some(stored) = tables.jobs.get(&job.id) {
            return Ok(stored.job());
        }
        tables.insert_ended(definition, record);
        let gone = tables.forget_beyond(&self.limits, at);
        drop(tables);
        drop(gone);
        Ok(job)
    }

    async fn claim(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        let mut tables = self.tables();
        if !tables.begin_claim(by, now) {
            return Ok(Vec::new());
        }
        let due = tables
            .lapsed()
            .into_iter()
            .chain(tables.pending.iter().copied())
            .take(limit)
            .collect();
        Ok(tables.claim_all(due, by, now))
    }

    async fn claim_fairly(
        &self,
        by: ReplicaId,
        limit: usize,
        running: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        let mut tables = self.tables();
        if !tables.begin_claim(by, now) {
            return Ok(Vec::new());
        }
        let mut lapsed = tables.lapsed();
        lapsed.truncate(limit);
        let mut claimed = tables.claim_all(lapsed, by, now);
        let mut running = running.clone();
        fairness::count(&mut running, &claimed);
        let queues = tables
            .pending_by_workflow
            .iter()
            .map(|(workflow, ids)| (workflow.clone(), ids.iter().copied()));
        let due = fairness::deal(queues, &running, limit - claimed.len());
        claimed.extend(tables.claim_all(due, by, now));
        Ok(claimed)
    }

    async fn release_leases(&self) -> Result<usize, Error> {
        let mut tables = self.tables();
        tables.declare_all_dead();
        tables.release_deliveries();
        Ok(tables.lapsed().len())
    }

    async fn register(&self, replica: &Replica, now: Timestamp) -> Result<(), Error> {
        self.tables().replicas.register(replica, now);
        Ok(())
    }

    async fn beat(
        &self,
        by: ReplicaId,
        renewal: Renewal<'_>,
        now: Timestamp,
    ) -> Result<Beat, Error> {
        self.tables().beat(by, renewal, now)
    }

    async fn deregister(&self, id: ReplicaId) -> Result<(), Error> {
        self.tables().deregister(id);
        Ok(())
    }

    async fn replicas(&self) -> Result<Vec<ReplicaState>, Error> {
        let tables = self.tables();
        Ok(tables.replicas.states(|id| tables.held_by(id).count()))
    }

    async fn cancelling(&self, by: ReplicaId) -> Result<Vec<JobId>, Error> {
        let tables = self.tables();
        let cancelling = tables
            .held_by(by)
            .filter(|record| record.head.status == Status::Cancelling);
        Ok(cancelling.map(|record| record.head.id).collect())
    }

    async fn claim_overdue(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        let mut tables = self.tables();
        if !tables.replicas.is_alive(by) {
            return Ok(Vec::new());
        }
        let passed = tables
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, id)| *id);
        let due = passed.take(limit).collect();
        Ok(tables.claim_all(due, by, now))
    }

    async fn checkpoint(
        &self,
        lease: &Lease,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<(), Error> {
        let mut tables = self.tables();
        tables.leased(lease)?.save(progress, events);
        Ok(())
    }

    async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        let mut tables = self.tables();
        let at = ending.at;
        if let Some(job) = tables.ended_before(lease) {
            return Ok(job);
        }
        let job = tables.leased(lease)?.finish(ending, events)?;
        tables.let_go(lease.job, Some(lease.replica));
        tables.enter_ended(lease.job);
        let gone = tables.forget_beyond(&self.limits, at);
        drop(tables);
        drop(gone);
        Ok(job)
    }

    async fn hand_back(&self, lease: &Lease) -> Result<(), Error> {
        self.tables().hand_back(lease)
    }

    async fn park(
        &self,
        lease: &Lease,
        wait: Wait,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<Parked, Error> {
        self.tables().park(lease, wait, progress, events)
    }

    async fn wake(&self, id: JobId, wake_up: WakeUp) -> Result<Woken, Error> {
        self.tables().wake(id, wake_up)
    }

    async fn waits_for(&self, id: JobId) -> Result<Option<Wait>, Error> {
        let tables = self.tables();
        let parking = tables.jobs.get(&id).and_then(|job| job.parking.as_ref());
        Ok(parking.and_then(|parking| parking.wait.clone()))
    }

    async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<CancelRequested, Error> {
        let mut tables = self.tables();
        let record = tables.jobs.get_mut(&id).ok_or(Error::NotFound)?;
        match record.head.status.after(Transition::RequestCancel) {
            None => Ok(CancelRequested::Ended(record.head.status)),
            Some(status) if status.is_final() => {
                let wakes_at = record.wakes_at();
                let job = record.end(status, now);
                tables.dequeue(&job);
                tables.leave_waiting(id, wakes_at);
                tables.enter_ended(id);
                tables.forget_beyond(&self.limits, now);
                Ok(CancelRequested::Cancelled)
            }
            Some(status) => {
                record.head.status = status;
                Ok(CancelRequested::Cancelling)
            }
        }
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, Error> {
        Ok(self.tables().jobs.get(&id).map(|record| record.job()))
    }

    async fn workload(&self, id: JobId) -> Result<Option<Workload>, Error> {
        Ok(self.tables().jobs.get(&id).map(|record| record.workload()))
    }

    async fn definition(&self, hash: &str) -> Result<Option<Arc<Definition>>, Error> {
        Ok(self
            .tables()
            .definitions
            .get(hash)
            .map(|(definition, _)| definition.clone()))
    }

    async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let tables = self.tables();
        let below = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let found = tables
            .jobs
            .range((Bound::Unbounded, below))
            .rev()
            .map(|(_, record)| record);
        let mut page = PageInProgress::new(limit);
        for record in found.filter(|record| filter.admits(&record.head)) {
            if !page.add(record.row()) {
                break;
            }
        }
        Ok(page.end())
    }

    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        let tables = self.tables();
        let record = tables.jobs.get(&id);
        Ok(record.map_or_else(Vec::new, |record| record.events(after, limit)))
    }

    async fn tails(
        &self,
        positions: &[(JobId, u64)],
        limit: usize,
    ) -> Result<Vec<Option<Tail>>, Error> {
        let tables = self.tables();
        let tail = |(id, after): &(JobId, u64)| {
            let record = tables.jobs.get(id)?;
            Some(Tail {
                status: record.head.status,
                events: record.events(*after, limit),
            })
        };
        Ok(positions.iter().map(tail).collect())
    }

    async fn claim_deliveries(
        &self,
        capacity: &DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Error> {
        Ok(self
            .tables()
            .claim_deliveries(capacity.clone(), lease_for, now))
    }

    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.tables().settle_delivery(lease, &settlement, now)
    }

    async fn webhook(&self, id: JobId) -> Result<Option<Webhook>, Error> {
        let tables = self.tables();
        let owed = tables.jobs.get(&id).and_then(|job| job.owed.as_deref());
        Ok(owed.map(|owed| owed.webhook.clone()))
    }

    async fn delete(&self, id: JobId) -> Result<(), Error> {
        let mut tables = self.tables();
        let job = &tables.jobs.get(&id).ok_or(Error::NotFound)?.head;
        let completed_at = job.completed_at.ok_or(Error::Active(id))?;
        tables.forget(completed_at, id);
        Ok(())
    }

    async fn expire(
        &self,
        kept_for: Duration,
        limit: usize,
        now: Timestamp,
    ) -> Result<usize, Error> {
        let before = earlier(now, kept_for);
        let mut tables = self.tables();
        for forgotten in 0..limit {
            match tables.ended.first().copied() {
                Some((completed_at, id)) if completed_at < before => {
                    tables.forget(completed_at, id);
                }
                _ => return Ok(forgotten),
            }
        }
        Ok(limit)
    }

    async fn expire_over(&self, max_bytes: u64, limit: usize) -> Result<usize, Error> {
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let mut tables = self.tables();
        for forgotten in 0..limit {
            match tables.next_to_go() {
                Some((completed_at, id)) if tables.ended_bytes > max_bytes => {
                    tables.forget(completed_at, id);
                }
                _ => return Ok(forgotten),
            }
        }
        Ok(limit)
    }

    async fn expire_keys(&self, limit: usize, now: Timestamp) -> Result<usize, Error> {
        let used_before = earlier(now, IDEMPOTENCY_KEPT);
        Ok(self.tables().forget_keys(used_before, usize::MAX, limit))
    }

    async fn counts(&self) -> Result<Counts, Error> {
        let tables = self.tables();
        Ok(Counts {
            pending: tables.pending.len(),
            waiting: tables.waiting.len(),
            running: tables.held(),
            ended: tables.ended.len() + tables.owed.len(),
        })
    }

    async fn unfinished(
        &self,
        owner: Option<&str>,
    ) -> Result<BTreeMap<Arc<str>, Unfinished>, Error> {
        Ok(self.tables().unfinished(owner))
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn is_shared(&self) -> bool {
        false
    }
}
