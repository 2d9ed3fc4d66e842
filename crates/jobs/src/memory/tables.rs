//! The tables of the store in memory, and the moves between them. Each method keeps them
//! consistent; the store combines moves to verbs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::due::DueDeliveries;
use super::idempotency::{Key, KeyUse};
use super::limits::Limits;
use super::record::Record;
use crate::job::{Definition, Idempotency, Job, JobId, NewJob};
use crate::replicas::Replicas;
use crate::store::{Filter, IDEMPOTENCY_KEPT, Lease, ReplicaId, Submitted, later};

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) jobs: BTreeMap<JobId, Box<Record>>,
    pub(super) pending: BTreeSet<JobId>,
    pub(super) pending_by_workflow: BTreeMap<Arc<str>, BTreeSet<JobId>>,
    pub(super) waiting: BTreeSet<JobId>,
    pub(super) wake_times: BTreeSet<(Timestamp, JobId)>,
    pub(super) deadlines: BTreeSet<(Timestamp, JobId)>,
    pub(super) replicas: Replicas,
    /// `None`: of no replica any more.
    pub(super) held_by: BTreeMap<Option<ReplicaId>, BTreeSet<JobId>>,
    pub(super) ended: BTreeSet<(Timestamp, JobId)>,
    pub(super) owed: BTreeSet<(Timestamp, JobId)>,
    pub(super) due: DueDeliveries,
    pub(super) ended_bytes: usize,
    keys: HashMap<Arc<Key>, KeyUse>,
    /// The keys of deleted jobs, by when they were used.
    outlived: BTreeSet<(Timestamp, Arc<Key>)>,
    pub(super) definitions: HashMap<Arc<str>, (Arc<Definition>, usize)>,
}

impl Tables {
    /// What a key was used for, if it is still remembered.
    pub(super) fn find_key(&self, idempotency: &Idempotency, now: Timestamp) -> Option<Submitted> {
        let key = Key {
            scope: idempotency.scope.clone(),
            key: idempotency.key.clone(),
        };
        let used = self
            .keys
            .get(&key)
            .filter(|used| now < later(used.at, IDEMPOTENCY_KEPT))?;
        if !idempotency.is_for(&used.fingerprint) {
            return Some(Submitted::KeyReused);
        }
        if let Some(status) = used.forgotten {
            let job = used.job;
            return Some(Submitted::Forgotten { job, status });
        }
        let record = self.jobs.get(&used.job)?;
        Some(Submitted::Existing(Box::new(record.job())))
    }

    /// The answer to a submission that is repeated.
    pub(super) fn submitted_before(&self, id: JobId, claim: Option<ReplicaId>) -> Submitted {
        let record = &self.jobs[&id];
        let lease = claim.map(|replica| Lease {
            job: id,
            token: 1,
            replica,
        });
        let claimed = lease
            .filter(|lease| record.is_of(lease) && !record.head.status.is_final())
            .map(|lease| Box::new(record.claimed(lease, false, Vec::new())));
        Submitted::New(claimed)
    }

    /// Adds a record. The caller claims the job or puts it into the queue.
    pub(super) fn insert(&mut self, mut new: NewJob) {
        let (id, definition) = (new.id, new.definition.clone());
        let key = new.idempotency.take().map(|used| {
            let key = Arc::new(Key {
                scope: used.scope,
                key: used.key,
            });
            let of = KeyUse {
                fingerprint: used.fingerprint,
                job: new.id,
                at: new.created_at,
                forgotten: None,
            };
            let before = self.keys.insert(key.clone(), of);
            if let Some(before) = before.filter(|before| before.forgotten.is_some()) {
                self.outlived.remove(&(before.at, key.clone()));
            }
            key
        });
        self.pin(definition);
        self.jobs.insert(id, Box::new(Record::new(new, key)));
    }

    /// Adds the record of a new job that has already ended.
    pub(super) fn insert_ended(&mut self, definition: Arc<Definition>, record: Box<Record>) {
        let id = record.head.id;
        self.pin(definition);
        self.jobs.insert(id, record);
        self.enter_ended(id);
    }

    /// Counts one more job with that definition.
    fn pin(&mut self, definition: Arc<Definition>) {
        if let Some((_, jobs)) = self.definitions.get_mut(&definition.hash) {
            *jobs += 1;
        } else {
            let hash = definition.hash.clone();
            self.definitions.insert(hash, (definition, 1));
        }
    }

    /// Puts a job in the queue.
    pub(super) fn enqueue(&mut self, id: JobId) {
        let Some(record) = self.jobs.get(&id) else {
            return;
        };
        let job = &record.head;
        self.pending.insert(id);
        self.pending_by_workflow
            .entry(job.workflow.clone())
            .or_default()
            .insert(id);
        self.deadlines
            .extend(job.deadline.map(|deadline| (deadline, id)));
    }

    pub(super) fn dequeue(&mut self, job: &Job) {
        self.pending.remove(&job.id);
        if let Some(of_workflow) = self.pending_by_workflow.get_mut(&job.workflow) {
            of_workflow.remove(&job.id);
            if of_workflow.is_empty() {
                self.pending_by_workflow.remove(&job.workflow);
            }
        }
        if let Some(deadline) = job.deadline {
            self.deadlines.remove(&(deadline, job.id));
        }
    }

    /// Adds a job to the tables of ended jobs. It must have ended and have left the queue or its
    /// lease.
    pub(super) fn enter_ended(&mut self, id: JobId) {
        let Some(record) = self.jobs.get(&id) else {
            return;
        };
        let at = record.head.completed_at.expect("the job has ended");
        if let Some(owed) = &record.owed {
            self.owed.insert((at, id));
            self.due.insert(&owed.webhook.host, at, id);
        } else {
            self.ended.insert((at, id));
        }
        self.ended_bytes += record.bytes();
    }

    /// Deletes what exceeds the limits. Returns the records, for the caller to drop when it no
    /// longer holds the tables.
    #[expect(clippy::vec_box, reason = "taken out as they are; records are large")]
    pub(super) fn forget_beyond(&mut self, limits: &Limits, now: Timestamp) -> Vec<Box<Record>> {
        let mut gone = Vec::new();
        while let Some((completed_at, id)) = self.next_to_go() {
            let too_old = later(completed_at, limits.max_age) < now;
            if !too_old
                && self.ended.len() + self.owed.len() <= limits.max_jobs
                && self.ended_bytes <= limits.max_bytes
            {
                break;
            }
            gone.push(self.forget(completed_at, id));
        }
        self.forget_keys(Timestamp::MIN, limits.max_keys, usize::MAX);
        gone
    }

    /// Deletes keys of deleted jobs, those used longest ago first: those used before that time, and
    /// those beyond `kept`.
    pub(super) fn forget_keys(
        &mut self,
        used_before: Timestamp,
        kept: usize,
        most: usize,
    ) -> usize {
        let mut forgotten = 0;
        while forgotten < most
            && self
                .outlived
                .first()
                .is_some_and(|(at, _)| *at < used_before || self.outlived.len() > kept)
            && let Some((_, key)) = self.outlived.pop_first()
        {
            self.keys.remove(&key);
            forgotten += 1;
        }
        forgotten
    }

    /// The ended job that is deleted first.
    pub(super) fn next_to_go(&self) -> Option<(Timestamp, JobId)> {
        self.ended.first().or(self.owed.first()).copied()
    }

    pub(super) fn forget(&mut self, completed_at: Timestamp, id: JobId) -> Box<Record> {
        self.ended.remove(&(completed_at, id));
        self.owed.remove(&(completed_at, id));
        let record = self
            .jobs
            .remove(&id)
            .expect("every entry of `ended` has its record");
        self.ended_bytes -= record.bytes();
        if let Some(owed) = &record.owed {
            self.due.remove(&owed.webhook.host, owed.due_at, id);
        }
        if let Some(key) = &record.key
            && let Some(used) = self.keys.get_mut(key).filter(|used| used.job == id)
        {
            used.forgotten = Some(record.head.status);
            self.outlived.insert((used.at, key.clone()));
        }
        if let Some((_, jobs)) = self.definitions.get_mut(&record.head.definition_hash) {
            *jobs -= 1;
            if *jobs == 0 {
                self.definitions.remove(&record.head.definition_hash);
            }
        }
        record
    }
}

impl Filter {
    /// Whether a job meets every condition.
    pub(super) fn admits(&self, job: &Job) -> bool {
        self.workflow
            .as_deref()
            .is_none_or(|workflow| *job.workflow == *workflow)
            && self.status.is_none_or(|status| job.status == status)
            && self
                .created_after
                .is_none_or(|after| job.created_at > after)
            && self
                .created_before
                .is_none_or(|before| job.created_at < before)
            && self
                .owner
                .as_deref()
                .is_none_or(|owner| job.owner.as_deref() == Some(owner))
            && self
                .workflows
                .as_ref()
                .is_none_or(|workflows| workflows.contains(&*job.workflow))
    }
}
