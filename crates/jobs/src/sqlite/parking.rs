//! Jobs that wait for something outside: parked by their worker, woken by others or by the time.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Failure;
use super::leases::HeldJob;
use super::tables::Tables;
use super::values::{Time, limit};
use crate::job::{JobId, Status, Transition};
use crate::json::Json;
use crate::parking::{MAX_WAKE_UPS, Parked, Wait, WakeUp, Woken};
use crate::store::{Error, Lease, StoredEvent};

impl Tables<'_> {
    pub(super) fn park(
        &mut self,
        lease: &Lease,
        wait: &Wait,
        progress: Option<&Json>,
        events: &[StoredEvent],
    ) -> Result<Parked, Failure> {
        let HeldJob {
            seq, status: from, ..
        } = self.held(lease)?;
        let Some(waiting) = from.after(Transition::Park) else {
            return Ok(Parked::Cancelling);
        };
        if let Some(progress) = progress {
            self.save_progress(seq, progress)?;
        }
        self.append(seq, events)?;
        let is_woken = self
            .connection
            .prepare_cached("SELECT 1 FROM wake_ups WHERE job = ?1 AND is_unseen = 1")?
            .exists([seq])?;
        let to = if is_woken { Status::Pending } else { waiting };
        self.execute(
            "UPDATE jobs SET status = ?2, attempts = attempts - 1, starts = 0, token = token + 1,
                 worker = NULL
             WHERE seq = ?1",
            params![seq, to],
        )?;
        self.moved(Some(from), Some(to));
        if is_woken {
            return Ok(Parked::Queued);
        }
        self.execute(
            "INSERT INTO waits (job, kind, wakes_at, details) VALUES (?1, ?2, ?3, ?4)",
            params![seq, wait.kind, wait.wakes_at.map(Time), wait.details],
        )?;
        Ok(Parked::Waiting)
    }

    pub(super) fn wake(&mut self, id: JobId, wake_up: &WakeUp) -> Result<Woken, Failure> {
        let (seq, status): (i64, Status) = self
            .find("SELECT seq, status FROM jobs WHERE id = ?1", [id], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .ok_or(Error::NotFound)?;
        if status.is_final() {
            return Ok(Woken::Ended(status));
        }
        let is_known = self
            .connection
            .prepare_cached("SELECT 1 FROM wake_ups WHERE job = ?1 AND key = ?2")?
            .exists(params![seq, wake_up.key])?;
        if is_known {
            return Ok(Woken::Known);
        }
        let known: Option<usize> = self.find(
            "SELECT count(*) FROM wake_ups WHERE job = ?1",
            [seq],
            |row| row.get(0),
        )?;
        if known.is_some_and(|known| known >= MAX_WAKE_UPS) {
            return Err(Error::TooManyWakeUps(id).into());
        }
        self.execute(
            "INSERT INTO wake_ups (job, key, payload, at, is_unseen) VALUES (?1, ?2, ?3, ?4, 1)",
            params![seq, wake_up.key, wake_up.payload, Time(wake_up.at)],
        )?;
        Ok(if self.end_wait(seq, status)? {
            Woken::Queued
        } else {
            Woken::Kept
        })
    }

    /// Puts up to `most` parked jobs into the queue whose time to wake had come by then, the
    /// earliest first.
    pub(super) fn wake_due(&mut self, most: usize, now: Timestamp) -> rusqlite::Result<()> {
        let due: Vec<i64> = self.collect(
            "SELECT job FROM waits INDEXED BY waits_by_time WHERE wakes_at <= ?1
             ORDER BY wakes_at LIMIT ?2",
            params![Time(now), limit(most)],
            |row| row.get(0),
        )?;
        for seq in due {
            self.end_wait(seq, Status::Waiting)?;
        }
        Ok(())
    }

    /// Moves a parked job to the queue; false if it is not parked.
    fn end_wait(&mut self, seq: i64, from: Status) -> rusqlite::Result<bool> {
        let Some(to) = from.after(Transition::Wake) else {
            return Ok(false);
        };
        self.execute(
            "UPDATE jobs SET status = ?2 WHERE seq = ?1",
            params![seq, to],
        )?;
        self.forget_wait(seq, from)?;
        self.moved(Some(from), Some(to));
        Ok(true)
    }

    /// Deletes what a job waits for, if it is parked.
    pub(super) fn forget_wait(&self, seq: i64, from: Status) -> rusqlite::Result<()> {
        if from == Status::Waiting {
            self.execute("DELETE FROM waits WHERE job = ?1", [seq])?;
        }
        Ok(())
    }

    /// What has woken a job, for the worker that claims it.
    pub(super) fn hand_out_wake_ups(&self, seq: i64) -> rusqlite::Result<Vec<WakeUp>> {
        let mut all = self.collect(
            "UPDATE wake_ups SET is_unseen = 0 WHERE job = ?1 RETURNING key, payload, at",
            [seq],
            wake_up,
        )?;
        all.sort_by(|one, other| (one.at, &one.key).cmp(&(other.at, &other.key)));
        Ok(all)
    }
}

fn wake_up(row: &Row<'_>) -> rusqlite::Result<WakeUp> {
    Ok(WakeUp {
        key: row.get(0)?,
        payload: row.get(1)?,
        at: row.get::<_, Time>(2)?.0,
    })
}

/// What a job waits for, for readers.
pub(super) fn wait(connection: &Connection, id: JobId) -> rusqlite::Result<Option<Wait>> {
    connection
        .prepare_cached(
            "SELECT w.kind, w.wakes_at, w.details FROM jobs j JOIN waits w ON w.job = j.seq
             WHERE j.id = ?1",
        )?
        .query_row([id], |row| {
            let wakes_at: Option<Time> = row.get(1)?;
            Ok(Wait {
                kind: row.get(0)?,
                wakes_at: wakes_at.map(|time| time.0),
                details: row.get(2)?,
            })
        })
        .optional()
}
