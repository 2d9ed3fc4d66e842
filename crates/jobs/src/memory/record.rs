//! The record of a job.

use std::sync::Arc;

use jiff::Timestamp;

use super::delivery::DeliveryRecord;
use super::idempotency::Key;
use super::packed::Packed;
use super::parking::Parking;
use super::payloads::{Payloads, Slot};
use crate::job::{Ending, Job, NewJob, Status, Transition, Workload};
use crate::json::Json;
use crate::parking::WakeUp;
use crate::store::{
    Claimed, Error, Lease, MAX_EVENTS, PROGRESS_EVENT, ReplicaId, StoredEvent, claim_job,
};

/// What a record takes beside its payloads, roughly, in bytes: itself and its places in the tables.
const RECORD_BYTES: usize = size_of::<Record>() + 128;

#[derive(Debug)]
pub(super) struct Record {
    /// The job without its payloads.
    pub(super) head: Job,
    payloads: PayloadStorage,
    /// Fencing token of the last claim.
    pub(super) token: u64,
    /// Whose the last claim was, unless the job was handed back or parked since.
    pub(super) holder: Option<ReplicaId>,
    /// Present if the job has a webhook.
    pub(super) owed: Option<Box<DeliveryRecord>>,
    pub(super) key: Option<Arc<Key>>,
    /// Once the job was parked or woken, until it ends.
    pub(super) parking: Option<Box<Parking>>,
    /// Claims since the run last made progress or was parked, and whether it has made some since
    /// the last one.
    pub(super) starts: u32,
    made_progress: bool,
}

#[derive(Debug)]
enum PayloadStorage {
    /// Until the job has ended.
    Open(Box<Payloads>),
    /// From then on.
    Packed(Packed),
}

impl Record {
    /// The record of a queued job. The tables keep its idempotency key.
    pub(super) fn new(new: NewJob, key: Option<Arc<Key>>) -> Self {
        let head = Job {
            metadata: None,
            ..new.pending_job()
        };
        let payloads = Payloads::of_workload(new.workload, new.metadata);
        Self {
            head,
            payloads: PayloadStorage::Open(Box::new(payloads)),
            token: 0,
            holder: None,
            owed: new.webhook.map(DeliveryRecord::new).map(Box::new),
            key,
            parking: None,
            starts: 0,
            made_progress: false,
        }
    }

    /// The job with all its payloads.
    pub(super) fn job(&self) -> Job {
        Job {
            outputs: self.slot(Slot::Outputs),
            ..self.row()
        }
    }

    /// The job as a listing shows it.
    pub(super) fn row(&self) -> Job {
        Job {
            metadata: self.slot(Slot::Metadata),
            problem: self.slot(Slot::Problem),
            usage: self.slot(Slot::Usage),
            ..self.head.clone()
        }
    }

    fn slot(&self, slot: Slot) -> Option<Json> {
        match &self.payloads {
            PayloadStorage::Open(payloads) => payloads.slot(slot).cloned(),
            PayloadStorage::Packed(packed) => packed.get(slot),
        }
    }

    pub(super) fn workload(&self) -> Workload {
        match &self.payloads {
            PayloadStorage::Open(payloads) => payloads.workload.clone(),
            PayloadStorage::Packed(packed) => packed.workload(),
        }
    }

    /// Those after that id.
    pub(super) fn events(&self, after: u64, limit: usize) -> Vec<StoredEvent> {
        match &self.payloads {
            PayloadStorage::Open(payloads) => {
                let events = &payloads.events;
                let from = events.partition_point(|event| event.id <= after);
                events.range(from..).take(limit).cloned().collect()
            }
            PayloadStorage::Packed(packed) => packed.events(after, limit),
        }
    }

    /// The id of the last event of a job that has not ended; 0 where there is none.
    pub(super) fn last_event(&self) -> u64 {
        match &self.payloads {
            PayloadStorage::Open(payloads) => payloads.events.back().map_or(0, |event| event.id),
            PayloadStorage::Packed(_) => 0,
        }
    }

    /// Saves progress and events of a job that has not ended.
    pub(super) fn save(&mut self, progress: Option<Json>, events: Vec<StoredEvent>) {
        let last = self.last_event();
        let PayloadStorage::Open(payloads) = &mut self.payloads else {
            return;
        };
        let shows_progress = |event: &StoredEvent| event.id > last && event.kind == PROGRESS_EVENT;
        self.made_progress = self.made_progress || events.iter().any(shows_progress);
        if progress.is_some() {
            payloads.workload.progress = progress;
        }
        if payloads.events.is_empty() {
            payloads.events = events.into();
        } else {
            let new = events.into_iter().filter(|event| event.id > last);
            payloads.events.extend(new);
        }
        let excess = payloads.events.len().saturating_sub(MAX_EVENTS);
        payloads.events.drain(..excess);
    }

    /// Leases the job, if that is a legal transition.
    pub(super) fn claim(&mut self, by: ReplicaId, now: Timestamp) -> Option<Lease> {
        let lease = claim_job(&mut self.head, self.token, by, now)?;
        self.token = lease.token;
        self.holder = Some(by);
        self.starts = 1 + if self.made_progress { 0 } else { self.starts };
        self.made_progress = false;
        Some(lease)
    }

    /// The job for the replica that has just claimed it.
    pub(super) fn claimed(&self, lease: Lease, was_lost: bool, wake_ups: Vec<WakeUp>) -> Claimed {
        Claimed {
            job: self.job(),
            lease,
            workload: self.workload(),
            last_event: self.last_event(),
            starts: self.starts,
            was_lost,
            wake_ups,
        }
    }

    /// Whether that is the lease of the last claim.
    pub(super) fn is_of(&self, lease: &Lease) -> bool {
        self.token == lease.token && self.holder == Some(lease.replica)
    }

    /// When the job wakes by itself, while it waits.
    pub(super) fn wakes_at(&self) -> Option<Timestamp> {
        self.parking.as_ref()?.wait.as_ref()?.wakes_at
    }

    /// Ends the lease at the worker's wish: the lease grants no writes any more, and the claim does
    /// not count as an attempt.
    pub(super) fn give_up_lease(&mut self) {
        self.token += 1;
        self.holder = None;
        self.head.attempts -= 1;
    }

    /// What has woken the job, for the worker that has just claimed it.
    pub(super) fn hand_out_wake_ups(&mut self) -> Vec<WakeUp> {
        let parking = self.parking.as_deref_mut();
        parking.map_or_else(Vec::new, Parking::hand_out)
    }

    /// Ends the job, which has to be a legal transition; returns it with all its payloads.
    pub(super) fn finish(
        &mut self,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        let transition = Transition::End(ending.end);
        let status = self.head.status.after(transition);
        let status = status.ok_or(Error::NotCancelling(self.head.id))?;
        self.save(None, events);
        if let PayloadStorage::Open(payloads) = &mut self.payloads {
            payloads.outputs = ending.outputs;
            payloads.problem = ending.problem;
            payloads.usage = ending.usage;
        }
        self.head.error = ending.error;
        self.head.execution_time_ms = Some(ending.execution_time_ms);
        Ok(self.end(status, ending.at))
    }

    /// Gives the job its final status; returns it with all its payloads.
    pub(super) fn end(&mut self, status: Status, at: Timestamp) -> Job {
        self.head.status = status;
        self.head.completed_at = Some(at);
        self.parking = None;
        self.make_delivery_due(at);
        let job = self.job();
        if let PayloadStorage::Open(payloads) = &self.payloads {
            self.payloads = PayloadStorage::Packed(Packed::of(payloads));
        }
        job
    }

    /// Approximate size of an ended job, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let payloads = match &self.payloads {
            PayloadStorage::Open(_) => 0,
            PayloadStorage::Packed(packed) => packed.bytes(),
        };
        RECORD_BYTES + payloads
    }
}
