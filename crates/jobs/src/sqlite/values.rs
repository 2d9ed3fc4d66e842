//! How our types stand in columns, and a job in a row.

use std::borrow::Cow;

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use uuid::Uuid;

use crate::job::{Job, JobId, Status};
use crate::json::Json;

/// Reads with [`job`]. `j` and `d` are what [`JOBS`] calls its tables.
pub(super) const JOB: &str = "j.id, j.workflow, d.hash, j.status, j.metadata, j.created_at, \
    j.started_at, j.completed_at, j.execution_time_ms, j.error, j.problem, j.usage, j.deadline, \
    j.owner, j.retried_from, j.attempts";

/// How many columns [`JOB`] has.
pub(super) const AFTER_JOB: usize = 16;

pub(super) const JOBS: &str = "jobs j JOIN definitions d ON d.seq = j.definition";

/// A job without its outputs.
pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let time = |column| {
        let time: rusqlite::Result<Option<Time>> = row.get(column);
        time.map(|time| time.map(|time| time.0))
    };
    Ok(Job {
        id: row.get(0)?,
        workflow: row.get(1)?,
        definition_hash: row.get(2)?,
        status: row.get(3)?,
        metadata: row.get(4)?,
        created_at: row.get::<_, Time>(5)?.0,
        started_at: time(6)?,
        completed_at: time(7)?,
        execution_time_ms: row.get(8)?,
        outputs: None,
        error: row.get(9)?,
        problem: row.get(10)?,
        usage: row.get(11)?,
        deadline: time(12)?,
        owner: row.get(13)?,
        retried_from: row.get(14)?,
        attempts: row.get(15)?,
    })
}

/// Exact to the nanosecond between 1677 and 2262; a time beyond counts as the last one within.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) Timestamp);

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let nanoseconds = self.0.as_nanosecond();
        let end = if nanoseconds < 0 { i64::MIN } else { i64::MAX };
        Ok(i64::try_from(nanoseconds).unwrap_or(end).into())
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Timestamp::from_nanosecond(i64::column_result(value)?.into())
            .map(Self)
            .map_err(FromSqlError::other)
    }
}

impl ToSql for JobId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_bytes().as_slice().into())
    }
}

impl FromSql for JobId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(|bytes| Self(Uuid::from_bytes(bytes)))
    }
}

impl ToSql for Json {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.text() {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        })
    }
}

impl FromSql for Json {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_text(String::column_result(value)?).map_err(FromSqlError::other)
    }
}

/// In the order of their numbers.
pub(super) const STATUSES: [Status; 6] = [
    Status::Pending,
    Status::Running,
    Status::Cancelling,
    Status::Completed,
    Status::Failed,
    Status::Cancelled,
];

pub(super) fn number(status: Status) -> u8 {
    match status {
        Status::Pending => 0,
        Status::Running => 1,
        Status::Cancelling => 2,
        Status::Completed => 3,
        Status::Failed => 4,
        Status::Cancelled => 5,
    }
}

impl ToSql for Status {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(number(*self).into())
    }
}

impl FromSql for Status {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = i64::column_result(value)?;
        usize::try_from(number)
            .ok()
            .and_then(|index| STATUSES.get(index).copied())
            .ok_or(FromSqlError::OutOfRange(number))
    }
}

/// For `LIMIT`.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rusqlite::Connection;

    use super::{STATUSES, Time, number};
    use crate::job::Status;

    fn stored(time: Timestamp) -> Timestamp {
        let connection = Connection::open_in_memory().unwrap();
        let read: Time = connection
            .query_row("SELECT ?1", [Time(time)], |row| row.get(0))
            .unwrap();
        read.0
    }

    #[test]
    fn a_time_keeps_its_nanoseconds() {
        let time: Timestamp = "2026-11-24T21:57:25.123456789Z".parse().unwrap();
        assert_eq!(stored(time), time);
    }

    #[test]
    fn a_time_too_far_away_stays_on_its_side() {
        assert!(stored(Timestamp::MIN) < "1700-01-01T00:00:00Z".parse().unwrap());
        assert!(stored(Timestamp::MAX) > "2262-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn every_status_stands_at_its_number() {
        for (index, status) in STATUSES.into_iter().enumerate() {
            assert_eq!(usize::from(number(status)), index);
        }
        let unknown = Connection::open_in_memory()
            .unwrap()
            .query_row("SELECT 6", [], |row| row.get::<_, Status>(0));
        assert!(unknown.is_err());
    }
}
