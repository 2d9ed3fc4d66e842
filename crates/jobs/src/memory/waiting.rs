//! Jobs that wait for something outside: parked by their worker, woken by others or by the time.

use jiff::Timestamp;

use super::tables::Tables;
use crate::job::{JobId, Status, Transition};
use crate::json::Json;
use crate::parking::{MAX_WAKE_UPS, Parked, Wait, WakeUp, Woken};
use crate::store::{Error, Lease, StoredEvent};

impl Tables {
    pub(super) fn park(
        &mut self,
        lease: &Lease,
        wait: Wait,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<Parked, Error> {
        let record = self.leased(lease)?;
        let Some(waiting) = record.head.status.after(Transition::Park) else {
            return Ok(Parked::Cancelling);
        };
        record.save(progress, events);
        record.give_up_lease();
        record.starts = 0;
        let parking = record.parking.get_or_insert_default();
        let is_woken = parking.has_unseen;
        let wakes_at = wait.wakes_at.filter(|_| !is_woken);
        parking.wait = (!is_woken).then_some(wait);
        record.head.status = if is_woken { Status::Pending } else { waiting };
        let deadline = record.head.deadline;
        self.let_go(lease.job, Some(lease.replica));
        if is_woken {
            self.enqueue(lease.job);
            return Ok(Parked::Queued);
        }
        self.waiting.insert(lease.job);
        self.wake_times.extend(wakes_at.map(|at| (at, lease.job)));
        self.deadlines
            .extend(deadline.map(|deadline| (deadline, lease.job)));
        Ok(Parked::Waiting)
    }

    pub(super) fn wake(&mut self, id: JobId, wake_up: WakeUp) -> Result<Woken, Error> {
        let record = self.jobs.get_mut(&id).ok_or(Error::NotFound)?;
        if record.head.status.is_final() {
            return Ok(Woken::Ended(record.head.status));
        }
        let parking = record.parking.get_or_insert_default();
        if parking.wake_ups.contains_key(&wake_up.key) {
            return Ok(Woken::Known);
        }
        if parking.wake_ups.len() >= MAX_WAKE_UPS {
            return Err(Error::TooManyWakeUps(id));
        }
        parking.wake_ups.insert(wake_up.key.clone(), wake_up);
        parking.has_unseen = true;
        Ok(if self.end_wait(id) {
            Woken::Queued
        } else {
            Woken::Kept
        })
    }

    /// Puts parked jobs into the queue whose time to wake had come by then.
    pub(super) fn wake_due(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.wake_times.first().copied()
            && at <= now
        {
            self.end_wait(id);
        }
    }

    /// Moves a parked job to the queue; false if it is not parked.
    fn end_wait(&mut self, id: JobId) -> bool {
        let Some(record) = self.jobs.get_mut(&id) else {
            return false;
        };
        let Some(pending) = record.head.status.after(Transition::Wake) else {
            return false;
        };
        record.head.status = pending;
        let wakes_at = record.wakes_at();
        if let Some(parking) = &mut record.parking {
            parking.wait = None;
        }
        self.leave_waiting(id, wakes_at);
        self.enqueue(id);
        true
    }

    /// Takes a job out of the tables of parked jobs, if it is there.
    pub(super) fn leave_waiting(&mut self, id: JobId, wakes_at: Option<Timestamp>) {
        self.waiting.remove(&id);
        if let Some(at) = wakes_at {
            self.wake_times.remove(&(at, id));
        }
    }
}
