//! The tables of the store in memory, and the moves between them. Each method keeps them consistent;
//! which moves make up a verb is the store's business.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::deliveries::Owed;
use super::{Limits, MAX_EVENTS};
use crate::job::{Definition, Idempotency, Job, JobId, NewJob, Status, Step, Work};
use crate::json::Json;
use crate::store::{
    Claimant, Claimed, Error, Filter, IDEMPOTENCY_KEPT, Lease, StoredEvent, Submitted, later,
};
use crate::webhook::Webhook;

/// What a record takes beside its payloads, roughly, in bytes.
const RECORD_BYTES: usize = 768;

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) jobs: BTreeMap<JobId, Record>,
    pub(super) pending: BTreeSet<JobId>,
    pub(super) pending_by_workflow: BTreeMap<Arc<str>, BTreeSet<JobId>>,
    pub(super) deadlines: BTreeSet<(Timestamp, JobId)>,
    pub(super) leases: BTreeSet<(Timestamp, JobId)>,
    pub(super) ended: BTreeSet<(Timestamp, JobId)>,
    pub(super) owed: BTreeSet<(Timestamp, JobId)>,
    pub(super) due: BTreeSet<(Timestamp, JobId)>,
    pub(super) ended_bytes: usize,
    keys: HashMap<Key, KeyUse>,
    pub(super) definitions: HashMap<Arc<str>, (Arc<Definition>, usize)>,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) job: Job,
    pub(super) work: Work,
    pub(super) events: VecDeque<StoredEvent>,
    /// Of the last claim.
    pub(super) token: u64,
    /// While it runs.
    pub(super) lease_expires_at: Timestamp,
    /// Where there is a webhook.
    pub(super) owed: Option<Box<Owed>>,
    key: Option<Box<Key>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    scope: String,
    key: String,
}

#[derive(Debug)]
struct KeyUse {
    fingerprint: String,
    job: JobId,
    at: Timestamp,
}

impl Tables {
    /// What a key that is still remembered was used for.
    pub(super) fn find_key(&self, idempotency: &Idempotency, now: Timestamp) -> Option<Submitted> {
        let key = Key {
            scope: idempotency.scope.clone(),
            key: idempotency.key.clone(),
        };
        let used = self
            .keys
            .get(&key)
            .filter(|used| now < later(used.at, IDEMPOTENCY_KEPT))?;
        if used.fingerprint != idempotency.fingerprint {
            return Some(Submitted::KeyReused);
        }
        let record = self.jobs.get(&used.job)?;
        Some(Submitted::Existing(Box::new(record.job.clone())))
    }

    /// A new record; whether it is claimed at once or put in the queue is up to the caller.
    pub(super) fn insert(&mut self, new: NewJob) {
        let definition_hash = new.definition.hash.clone();
        let (_, jobs) = self
            .definitions
            .entry(definition_hash.clone())
            .or_insert((new.definition, 0));
        *jobs += 1;
        let key = new.idempotency.map(|used| {
            let key = Key {
                scope: used.scope,
                key: used.key,
            };
            let of = KeyUse {
                fingerprint: used.fingerprint,
                job: new.id,
                at: new.created_at,
            };
            self.keys.insert(key.clone(), of);
            Box::new(key)
        });
        let job = Job {
            id: new.id,
            workflow: new.workflow,
            definition_hash,
            status: Status::Pending,
            metadata: new.metadata,
            created_at: new.created_at,
            started_at: None,
            completed_at: None,
            execution_time_ms: None,
            outputs: None,
            error: None,
            problem: None,
            usage: None,
            deadline: new.deadline,
            owner: new.owner,
            retried_from: new.retried_from,
            attempts: 0,
            webhook: new.webhook.as_ref().map(Webhook::untried),
        };
        let record = Record {
            job,
            work: new.work,
            events: VecDeque::new(),
            token: 0,
            lease_expires_at: Timestamp::MIN,
            owed: new.webhook.map(Owed::new).map(Box::new),
            key,
        };
        self.jobs.insert(new.id, record);
    }

    /// Puts a job in the queue.
    pub(super) fn enqueue(&mut self, id: JobId) {
        let Some(Record { job, .. }) = self.jobs.get(&id) else {
            return;
        };
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

    /// Jobs whose lease had lapsed by then, the longest ago first.
    pub(super) fn lapsed(&self, now: Timestamp) -> impl Iterator<Item = JobId> {
        self.leases
            .iter()
            .take_while(move |(expires_at, _)| *expires_at <= now)
            .map(|(_, id)| *id)
    }

    pub(super) fn claim_all(
        &mut self,
        due: Vec<JobId>,
        by: &Claimant,
        now: Timestamp,
    ) -> Vec<Claimed> {
        due.into_iter()
            .filter_map(|id| self.claim(id, by, now))
            .collect()
    }

    /// Leases a job that waits or whose lease lapsed.
    pub(super) fn claim(&mut self, id: JobId, by: &Claimant, now: Timestamp) -> Option<Claimed> {
        let record = self.jobs.get_mut(&id)?;
        let status = record.job.status.after(Step::Claim)?;
        let expires_at = later(now, by.lease_for);
        record.job.status = status;
        record.job.started_at.get_or_insert(now);
        record.job.attempts += 1;
        record.token += 1;
        let lapsed_at = std::mem::replace(&mut record.lease_expires_at, expires_at);
        let claimed = Claimed {
            job: record.job.clone(),
            lease: Lease {
                job: id,
                token: record.token,
                expires_at,
            },
            work: record.work.clone(),
            last_event: record.last_event(),
        };
        self.dequeue(&claimed.job);
        self.leases.remove(&(lapsed_at, id));
        self.leases.insert((expires_at, id));
        Some(claimed)
    }

    /// The record a lease still gives the right to write to.
    pub(super) fn held(&mut self, lease: &Lease) -> Result<&mut Record, Error> {
        self.jobs
            .get_mut(&lease.job)
            .filter(|record| {
                record.token == lease.token
                    && matches!(record.job.status, Status::Running | Status::Cancelling)
            })
            .ok_or(Error::LeaseLost(lease.job))
    }

    /// Gives a job that left the queue and its lease its final status.
    pub(super) fn end(&mut self, id: JobId, status: Status, at: Timestamp) -> Job {
        let record = self
            .jobs
            .get_mut(&id)
            .expect("the caller has just had the record");
        record.job.status = status;
        record.job.completed_at = Some(at);
        record.events.shrink_to_fit();
        if record.owe_delivery(at) {
            self.owed.insert((at, id));
            self.due.insert((at, id));
        } else {
            self.ended.insert((at, id));
        }
        self.ended_bytes += record.bytes();
        record.job.clone()
    }

    pub(super) fn forget_beyond(&mut self, limits: &Limits, now: Timestamp) {
        while let Some((completed_at, id)) = self.next_to_go() {
            let too_old = later(completed_at, limits.max_age) < now;
            if !too_old
                && self.ended.len() + self.owed.len() <= limits.max_jobs
                && self.ended_bytes <= limits.max_bytes
            {
                return;
            }
            self.forget(completed_at, id);
        }
    }

    /// The ended job that is forgotten first.
    pub(super) fn next_to_go(&self) -> Option<(Timestamp, JobId)> {
        self.ended.first().or(self.owed.first()).copied()
    }

    pub(super) fn forget(&mut self, completed_at: Timestamp, id: JobId) {
        self.ended.remove(&(completed_at, id));
        self.owed.remove(&(completed_at, id));
        let record = self
            .jobs
            .remove(&id)
            .expect("every entry of `ended` has its record");
        self.ended_bytes -= record.bytes();
        if let Some(owed) = &record.owed {
            self.due.remove(&(owed.due_at, id));
        }
        if let Some(key) = record.key
            && self.keys.get(&key).is_some_and(|used| used.job == id)
        {
            self.keys.remove(&key);
        }
        if let Some((_, jobs)) = self.definitions.get_mut(&record.job.definition_hash) {
            *jobs -= 1;
            if *jobs == 0 {
                self.definitions.remove(&record.job.definition_hash);
            }
        }
    }
}

impl Record {
    /// The id of the last event; 0 where there is none.
    fn last_event(&self) -> u64 {
        self.events.back().map_or(0, |event| event.id)
    }

    pub(super) fn append(&mut self, events: Vec<StoredEvent>) {
        if self.events.is_empty() {
            self.events = events.into();
        } else {
            let last = self.last_event();
            self.events
                .extend(events.into_iter().filter(|event| event.id > last));
        }
        let excess = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..excess);
    }

    /// What it takes, roughly. Does not change once the job has ended.
    fn bytes(&self) -> usize {
        let payloads = [
            Some(&self.work.inputs),
            self.work.options.as_ref(),
            self.work.progress.as_ref(),
            self.job.metadata.as_ref(),
            self.job.outputs.as_ref(),
            self.job.problem.as_ref(),
            self.job.usage.as_ref(),
        ];
        let events = self
            .events
            .iter()
            .map(|event| size_of::<StoredEvent>() + event.data.bytes());
        RECORD_BYTES
            + payloads
                .into_iter()
                .flatten()
                .map(Json::bytes)
                .chain(events)
                .sum::<usize>()
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
    }
}
