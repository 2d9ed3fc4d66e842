//! Deleting ended jobs.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::fault::Failure;
use super::tables::Tables;
use super::values::{Time, limit};
use crate::job::{JobId, Status};
use crate::store::Error;

/// Most keys of deleted jobs that are deleted at once when there is no space.
const KEYS: usize = 1024;

impl Tables<'_> {
    pub(super) fn delete(&mut self, id: JobId) -> Result<(), Failure> {
        let (seq, status): (i64, Status) = self
            .find("SELECT seq, status FROM jobs WHERE id = ?1", [id], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .ok_or(Error::NotFound)?;
        if !status.is_final() {
            return Err(Error::Active(id).into());
        }
        Ok(self.forget(seq, status)?)
    }

    pub(super) fn expire(&mut self, before: Timestamp, most: usize) -> Result<Vec<i64>, Failure> {
        let ended = self.collect(
            "SELECT seq, status FROM jobs INDEXED BY jobs_by_end
             WHERE completed_at < ?1 AND owes_webhook IS NULL
             ORDER BY completed_at, id LIMIT ?2",
            params![Time(before), limit(most)],
            ended,
        )?;
        let forget = |(seq, status)| self.forget(seq, status).map(|()| seq);
        Ok(ended.into_iter().map(forget).collect::<Result<_, _>>()?)
    }

    pub(super) fn expire_over(&mut self, max_bytes: u64, most: usize) -> Result<Vec<i64>, Failure> {
        let mut forgotten = Vec::new();
        while forgotten.len() < most && self.takes_more_than(max_bytes)? {
            let oldest = self.find(
                "SELECT seq, status FROM jobs INDEXED BY jobs_by_end
                 WHERE completed_at IS NOT NULL AND owes_webhook IS NULL
                 ORDER BY completed_at, id LIMIT 1",
                [],
                ended,
            )?;
            let next = match oldest {
                Some(oldest) => Some(oldest),
                None => self.least_promising_delivery()?,
            };
            if let Some((seq, status)) = next {
                self.forget(seq, status)?;
                forgotten.push(seq);
            } else {
                self.expire_keys(Timestamp::MAX, KEYS)?;
                break;
            }
        }
        Ok(forgotten)
    }

    /// Returns how many were deleted.
    pub(super) fn expire_keys(
        &self,
        used_before: Timestamp,
        most: usize,
    ) -> Result<usize, Failure> {
        Ok(self.execute(
            "DELETE FROM idempotency_keys WHERE (scope, key) IN (
                 SELECT scope, key FROM idempotency_keys INDEXED BY idempotency_keys_by_use
                 WHERE job IS NULL AND used_at < ?1 ORDER BY used_at LIMIT ?2)",
            params![Time(used_before), limit(most)],
        )?)
    }

    /// Deletes everything of a job but its idempotency key.
    fn forget(&mut self, seq: i64, status: Status) -> rusqlite::Result<()> {
        for sql in [
            "DELETE FROM work WHERE job = ?1 RETURNING shared",
            "DELETE FROM progress WHERE job = ?1 RETURNING shared",
        ] {
            let shared: Option<Option<i64>> = self.find(sql, [seq], |row| row.get(0))?;
            if let Some(shared) = shared.flatten() {
                self.unshare(shared)?;
            }
        }
        for sql in [
            "DELETE FROM outputs WHERE job = ?1",
            "DELETE FROM events WHERE job = ?1",
            "DELETE FROM webhooks WHERE job = ?1",
            "DELETE FROM wake_ups WHERE job = ?1",
        ] {
            self.execute(sql, [seq])?;
        }
        self.execute(
            "UPDATE idempotency_keys
             SET job = NULL, status = ?2, gone = (SELECT id FROM jobs WHERE seq = ?1)
             WHERE job = ?1",
            params![seq, status],
        )?;
        self.count_new_jobs()?;
        let definition: Option<i64> = self.find(
            "DELETE FROM jobs WHERE seq = ?1 RETURNING definition",
            [seq],
            |row| row.get(0),
        )?;
        self.execute(
            "UPDATE definitions SET jobs = jobs - 1 WHERE seq = ?1",
            [definition],
        )?;
        let unused = self.execute(
            "DELETE FROM definitions WHERE seq = ?1 AND jobs = 0",
            [definition],
        )?;
        if unused > 0 {
            self.execute(
                "DELETE FROM definition_texts WHERE definition = ?1",
                [definition],
            )?;
        }
        self.moved(Some(status), None);
        Ok(())
    }
}

/// Row number and status of an ended job; the rest of it may be unreadable.
pub(super) fn ended(row: &Row<'_>) -> rusqlite::Result<(i64, Status)> {
    Ok((row.get(0)?, row.get(1)?))
}
