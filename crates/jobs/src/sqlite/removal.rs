//! Forgetting jobs that ended, and giving the space back to the file system.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::fault::Failure;
use super::tables::Tables;
use super::values::{Time, limit};
use crate::job::{JobId, Status};
use crate::store::Error;

/// Free pages are kept for what comes next up to this many, and up to one in [`KEPT_SHARE`].
const KEPT_PAGES: u64 = 256;
const KEPT_SHARE: u64 = 8;

/// Pages given back in one step: some milliseconds.
const STEP_PAGES: u64 = 256;

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

    pub(super) fn expire(&mut self, before: Timestamp, most: usize) -> Result<usize, Failure> {
        let ended = self.collect(
            "SELECT seq, status FROM jobs WHERE completed_at < ?1 ORDER BY completed_at, id LIMIT ?2",
            params![Time(before), limit(most)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for &(seq, status) in &ended {
            self.forget(seq, status)?;
        }
        Ok(ended.len())
    }

    pub(super) fn expire_over(&mut self, max_bytes: u64, most: usize) -> Result<usize, Failure> {
        for forgotten in 0..most {
            if used_bytes(self.connection)? <= max_bytes {
                return Ok(forgotten);
            }
            let oldest = self.find(
                "SELECT seq, status FROM jobs WHERE completed_at IS NOT NULL
                 ORDER BY completed_at, id LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let Some((seq, status)) = oldest else {
                return Ok(forgotten);
            };
            self.forget(seq, status)?;
        }
        Ok(most)
    }

    /// Shortens the file a little where too much of it is free; tells whether more is to be done.
    pub(super) fn give_back_space(&self) -> Result<bool, Failure> {
        let free = pragma(self.connection, "freelist_count")?;
        let pages = pragma(self.connection, "page_count")?;
        let excess = free.saturating_sub(KEPT_PAGES.max(pages / KEPT_SHARE));
        if excess > 0 {
            let sql = format!("PRAGMA incremental_vacuum({})", excess.min(STEP_PAGES));
            let mut statement = self.connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            // Each step of it frees one page.
            while rows.next()?.is_some() {}
        }
        Ok(excess > STEP_PAGES)
    }

    /// Everything else of the job goes with its row.
    fn forget(&mut self, seq: i64, status: Status) -> rusqlite::Result<()> {
        let definition: Option<i64> = self.find(
            "DELETE FROM jobs WHERE seq = ?1 RETURNING definition",
            [seq],
            |row| row.get(0),
        )?;
        self.execute(
            "UPDATE definitions SET jobs = jobs - 1 WHERE seq = ?1",
            [definition],
        )?;
        self.execute(
            "DELETE FROM definitions WHERE seq = ?1 AND jobs = 0",
            [definition],
        )?;
        self.moved(Some(status), None);
        Ok(())
    }
}

/// What the file takes without its free pages.
fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    Ok(pages * pragma(connection, "page_size")?)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(&format!("PRAGMA {name}"))?
        .query_row([], |row| row.get(0))
}
