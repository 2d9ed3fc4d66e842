//! The tables as a verb of the writer sees them: within a transaction, with its counts. Here is
//! what several verbs need; the verbs are in `submission`, `leases`, `parking`, `deliveries` and
//! `removal`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::holders::Holders;
use crate::id_time::time_in;
use crate::job::{Job, Status};
use crate::store::Counts;

/// Prepared statements that a connection keeps: enough for all that there are.
pub(super) const STATEMENTS: usize = 64;

/// Most jobs that one command of the writer touches.
pub(super) const CHUNK: usize = 128;

#[derive(Debug)]
pub(super) struct Tables<'a> {
    pub(super) connection: &'a Connection,
    /// The counts after the commit of this transaction.
    pub(super) counts: Counts,
    /// Jobs that are new in this transaction, by the hash of their definition.
    pub(super) new_jobs: HashMap<Arc<str>, NewJobs>,
    /// Greatest difference between a job's `created_at` and the time in its id, in milliseconds.
    pub(super) id_skew_ms: &'a AtomicU64,
    pub(super) holders: &'a Holders,
    /// Length of the log when this transaction began.
    pub(super) log_bytes: u64,
}

/// New jobs that their definition does not count yet.
#[derive(Debug)]
pub(super) struct NewJobs {
    /// Row number of the definition.
    pub(super) seq: i64,
    pub(super) jobs: u64,
}

impl Tables<'_> {
    /// Adds the new jobs to the counts of their definitions: at the end of a transaction, and
    /// before anything reads those counts.
    pub(super) fn count_new_jobs(&mut self) -> rusqlite::Result<()> {
        for (_, NewJobs { seq, jobs }) in std::mem::take(&mut self.new_jobs) {
            self.execute(
                "UPDATE definitions SET jobs = jobs + ?2 WHERE seq = ?1",
                params![seq, jobs],
            )?;
        }
        Ok(())
    }

    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    pub(super) fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.connection
            .prepare_cached(sql)?
            .query_row(params, read)
            .optional()
    }

    pub(super) fn collect<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.connection
            .prepare_cached(sql)?
            .query_map(params, read)?
            .collect()
    }

    /// Keeps the counts when a job comes (`from` is `None`), moves, or goes (`to` is `None`).
    pub(super) fn moved(&mut self, from: Option<Status>, to: Option<Status>) {
        if let Some(status) = from {
            *place(&mut self.counts, status) -= 1;
        }
        if let Some(status) = to {
            *place(&mut self.counts, status) += 1;
        }
    }

    /// Keeps `id_skew_ms` true for a new job. Readers may know a greater one before it is
    /// committed: that only makes them look at more jobs.
    pub(super) fn allow_skew(&self, job: &Job) -> rusqlite::Result<()> {
        let skew_ms = time_in(job.id).abs_diff(job.created_at.as_millisecond());
        if skew_ms > self.id_skew_ms.load(Ordering::Relaxed) {
            self.execute("UPDATE id_skew SET ms = max(ms, ?1)", [skew_ms])?;
            self.id_skew_ms.fetch_max(skew_ms, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The count that a job of that status is part of.
pub(super) fn place(counts: &mut Counts, status: Status) -> &mut usize {
    match status {
        Status::Pending => &mut counts.pending,
        Status::Waiting => &mut counts.waiting,
        Status::Running | Status::Cancelling => &mut counts.running,
        Status::Completed | Status::Failed | Status::Cancelled => &mut counts.ended,
    }
}
