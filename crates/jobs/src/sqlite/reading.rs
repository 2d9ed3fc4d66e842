//! What is read of one job, by readers and by the writer.

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::values::{
    self, JOB_COLUMN_COUNT, JOB_COLUMNS, JOB_TABLES, WORKLOAD, WORKLOAD_JOINS, job, limit,
};
use crate::job::{Definition, Job, JobId, Workload};
use crate::store::{StoredEvent, Tail};
use crate::webhook::Webhook;

/// One job with its outputs.
pub(super) fn whole_job(connection: &Connection, id: JobId) -> rusqlite::Result<Option<Job>> {
    let sql = format!(
        "SELECT {JOB_COLUMNS}, o.data FROM {JOB_TABLES} LEFT JOIN outputs o ON o.job = j.seq WHERE j.id = ?1"
    );
    connection
        .prepare_cached(&sql)?
        .query_row([id], |row| {
            Ok(Job {
                outputs: row.get(JOB_COLUMN_COUNT)?,
                ..job(row)?
            })
        })
        .optional()
}

pub(super) fn workload(connection: &Connection, id: JobId) -> rusqlite::Result<Option<Workload>> {
    connection
        .prepare_cached(&format!(
            "SELECT {WORKLOAD} FROM jobs j {WORKLOAD_JOINS} WHERE j.id = ?1"
        ))?
        .query_row([id], |row| {
            Ok(Workload {
                inputs: row.get(0)?,
                options: row.get(1)?,
                progress: row.get(2)?,
            })
        })
        .optional()
}

pub(super) fn definition(
    connection: &Connection,
    hash: &Arc<str>,
) -> rusqlite::Result<Option<Arc<Definition>>> {
    connection
        .prepare_cached(
            "SELECT d.name, t.text FROM definitions d
             JOIN definition_texts t ON t.definition = d.seq WHERE d.hash = ?1",
        )?
        .query_row([hash], |row| {
            Ok(Arc::new(Definition {
                hash: hash.clone(),
                name: row.get(0)?,
                text: row.get(1)?,
            }))
        })
        .optional()
}

pub(super) fn webhook(connection: &Connection, id: JobId) -> rusqlite::Result<Option<Webhook>> {
    connection
        .prepare_cached(
            "SELECT h.shown, h.host, h.url, h.secret FROM jobs j
             JOIN webhooks h ON h.job = j.seq WHERE j.id = ?1",
        )?
        .query_row([id], values::webhook)
        .optional()
}

/// The events after that one, up to `most`.
pub(super) fn events(
    connection: &Connection,
    id: JobId,
    after: u64,
    most: usize,
) -> rusqlite::Result<Vec<StoredEvent>> {
    // What a client sends as its last event may be any number.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT e.id, e.kind, e.data FROM jobs j JOIN events e ON e.job = j.seq
             WHERE j.id = ?1 AND e.id > ?2 ORDER BY e.id LIMIT ?3",
        )?
        .query_map(params![id, after, limit(most)], |row| {
            Ok(StoredEvent {
                id: row.get(0)?,
                kind: Cow::Owned(row.get(1)?),
                data: row.get(2)?,
            })
        })?
        .collect()
}

/// The same for many jobs, with their status, which is read first: whatever follows a final one is
/// not of the job.
pub(super) fn tails(
    connection: &Connection,
    positions: &[(JobId, u64)],
    most: usize,
) -> rusqlite::Result<Vec<Option<Tail>>> {
    let tail = |(id, after): &(JobId, u64)| {
        let status = connection
            .prepare_cached("SELECT status FROM jobs WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let Some(status) = status else {
            return Ok(None);
        };
        let events = events(connection, *id, *after, most)?;
        Ok(Some(Tail { status, events }))
    };
    positions.iter().map(tail).collect()
}
