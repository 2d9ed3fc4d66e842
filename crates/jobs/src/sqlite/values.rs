//! How our types are stored in columns, and a job in a row.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use uuid::Uuid;

use crate::job::{Job, JobId, Status};
use crate::json::Json;
use crate::webhook::{Delivery, DeliveryState, Hidden, Target, Webhook};

/// The columns that [`job`] reads. `j`, `d` and `h` are aliases in [`JOB_TABLES`].
pub(super) const JOB_COLUMNS: &str = "j.id, j.workflow, d.hash, j.status, j.metadata, j.created_at, \
    j.started_at, j.completed_at, j.execution_time_ms, j.error, j.problem, j.usage, j.deadline, \
    j.owner, j.retried_from, j.attempts, h.shown, h.state, h.attempts, h.last_error, h.claimed, \
    h.due_at";

/// Number of columns of [`JOB_COLUMNS`].
pub(super) const JOB_COLUMN_COUNT: usize = 22;

pub(super) const JOB_TABLES: &str = "jobs j JOIN definitions d ON d.seq = j.definition \
    LEFT JOIN webhooks h ON h.job = j.seq";

/// Inputs, options and progress of a job, from [`WORKLOAD_JOINS`].
pub(super) const WORKLOAD: &str =
    "coalesce(wc.text, w.inputs), w.options, coalesce(pc.text, p.data)";

/// Joins them to `jobs j`.
pub(super) const WORKLOAD_JOINS: &str = "JOIN work w ON w.job = j.seq \
    LEFT JOIN content_texts wc ON wc.content = w.shared \
    LEFT JOIN progress p ON p.job = j.seq \
    LEFT JOIN content_texts pc ON pc.content = p.shared";

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
        webhook: delivery(row)?,
    })
}

/// The columns of [`JOB_COLUMNS`] from its 17th on.
fn delivery(row: &Row<'_>) -> rusqlite::Result<Option<Delivery>> {
    let Some(url) = row.get(16)? else {
        return Ok(None);
    };
    let is_claimed: bool = row.get(20)?;
    let due_at: Option<Time> = row.get(21)?;
    Ok(Some(Delivery {
        url,
        state: row.get(17)?,
        attempts: row.get(18)?,
        last_error: row.get(19)?,
        next_attempt_at: due_at.filter(|_| !is_claimed).map(|time| time.0),
    }))
}

/// Of `shown`, `host`, `url` and `secret` as the first columns.
pub(super) fn webhook(row: &Row<'_>) -> rusqlite::Result<Webhook> {
    let text = |column| {
        let text: rusqlite::Result<Option<Arc<str>>> = row.get(column);
        text.map(|text| text.map(Hidden::from))
    };
    let (url, secret) = (text(2)?, text(3)?);
    Ok(Webhook {
        shown: row.get(0)?,
        host: row.get(1)?,
        target: url.map(|url| Target { url, secret }),
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
pub(super) const STATUSES: [Status; 7] = [
    Status::Pending,
    Status::Running,
    Status::Cancelling,
    Status::Completed,
    Status::Failed,
    Status::Cancelled,
    Status::Waiting,
];

pub(super) fn number(status: Status) -> u8 {
    match status {
        Status::Pending => 0,
        Status::Running => 1,
        Status::Cancelling => 2,
        Status::Completed => 3,
        Status::Failed => 4,
        Status::Cancelled => 5,
        Status::Waiting => 6,
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

/// In the order of their numbers.
const DELIVERY_STATES: [DeliveryState; 5] = [
    DeliveryState::Waiting,
    DeliveryState::Pending,
    DeliveryState::Delivered,
    DeliveryState::Gone,
    DeliveryState::GivenUp,
];

impl ToSql for DeliveryState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number: u8 = match self {
            Self::Waiting => 0,
            Self::Pending => 1,
            Self::Delivered => 2,
            Self::Gone => 3,
            Self::GivenUp => 4,
        };
        Ok(number.into())
    }
}

impl FromSql for DeliveryState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = i64::column_result(value)?;
        usize::try_from(number)
            .ok()
            .and_then(|index| DELIVERY_STATES.get(index).copied())
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

    use super::{DELIVERY_STATES, STATUSES, Time, number};
    use crate::job::Status;
    use crate::webhook::DeliveryState;

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
            .query_row("SELECT 7", [], |row| row.get::<_, Status>(0));
        assert!(unknown.is_err());
    }

    #[test]
    fn every_state_of_a_delivery_reads_back() {
        let connection = Connection::open_in_memory().unwrap();
        for state in DELIVERY_STATES {
            let read: DeliveryState = connection
                .query_row("SELECT ?1", [state], |row| row.get(0))
                .unwrap();
            assert_eq!(read, state);
        }
    }
}
