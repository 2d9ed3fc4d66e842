//! How our types are stored in columns, and a job in a row.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;

use crate::id::ReplicaId;
use crate::job::{Job, JobId, Status};
use crate::json::Json;
use crate::webhook::{Delivery, DeliveryState, Hidden, Target, Webhook};

/// The columns that [`job`] reads, from [`JOB_TABLES`]. A job that has not ended has a row `a`.
pub(super) const JOB_COLUMNS: &str = "j.id, j.workflow, j.definition, \
    coalesce(j.status, a.status), j.metadata, j.created_at, coalesce(j.started_at, a.started_at), \
    j.completed_at, j.execution_ms, j.error, j.problem, j.usage, j.deadline, j.owner, \
    j.retried_from, CASE WHEN j.status IS NULL THEN a.attempts ELSE j.attempts END, \
    h.shown, h.state, h.attempts, h.last_error, h.is_claimed, h.due_at";

/// Number of columns of [`JOB_COLUMNS`].
pub(super) const JOB_COLUMN_COUNT: usize = 22;

pub(super) const JOB_TABLES: &str = "flowmill.jobs j \
    LEFT JOIN flowmill.active a ON a.job = j.id AND j.status IS NULL \
    LEFT JOIN flowmill.webhooks h ON h.job = j.id";

/// A job without its outputs.
pub(super) fn job(row: &Row) -> Result<Job, tokio_postgres::Error> {
    let time = |column| {
        let time: Result<Option<Time>, _> = row.try_get(column);
        time.map(|time| time.map(|time| time.0))
    };
    Ok(Job {
        id: row.try_get(0)?,
        workflow: text(row, 1)?,
        definition_hash: text(row, 2)?,
        status: row.try_get(3)?,
        metadata: row.try_get(4)?,
        created_at: row.try_get::<_, Time>(5)?.0,
        started_at: time(6)?,
        completed_at: time(7)?,
        execution_time_ms: row.try_get::<_, Option<i64>>(8)?.map(unsigned),
        outputs: None,
        error: optional_text(row, 9)?,
        problem: row.try_get(10)?,
        usage: row.try_get(11)?,
        deadline: time(12)?,
        owner: optional_text(row, 13)?,
        retried_from: row.try_get(14)?,
        attempts: small(row.try_get(15)?),
        webhook: delivery(row)?,
    })
}

/// The columns of [`JOB_COLUMNS`] from its 17th on.
fn delivery(row: &Row) -> Result<Option<Delivery>, tokio_postgres::Error> {
    let Some(url) = optional_text(row, 16)? else {
        return Ok(None);
    };
    let is_claimed: bool = row.try_get(20)?;
    let due_at: Option<Time> = row.try_get(21)?;
    Ok(Some(Delivery {
        url,
        state: row.try_get(17)?,
        attempts: small(row.try_get(18)?),
        last_error: optional_text(row, 19)?,
        next_attempt_at: due_at.filter(|_| !is_claimed).map(|time| time.0),
    }))
}

#[allow(dead_code, reason = "the verbs that need it are on their way")]
/// Of `shown`, `host`, `url` and `secret` from that column on.
pub(super) fn webhook(row: &Row, first: usize) -> Result<Webhook, tokio_postgres::Error> {
    let hidden = |column| Ok(optional_text(row, column)?.map(Hidden::from));
    let url: Option<Hidden> = hidden(first + 2)?;
    let secret = hidden(first + 3)?;
    Ok(Webhook {
        shown: text(row, first)?,
        host: text(row, first + 1)?,
        target: url.map(|url| Target { url, secret }),
    })
}

pub(super) fn text(row: &Row, column: usize) -> Result<Arc<str>, tokio_postgres::Error> {
    row.try_get::<_, &str>(column).map(Arc::from)
}

pub(super) fn optional_text(
    row: &Row,
    column: usize,
) -> Result<Option<Arc<str>>, tokio_postgres::Error> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.map(Arc::from))
}

/// A number that is never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or_default()
}

/// A number that is never negative.
pub(super) fn small(number: i32) -> u32 {
    number.try_into().unwrap_or_default()
}

/// For `LIMIT` and other numbers that end where the column's type does.
pub(super) fn signed<N: TryInto<i64>>(number: N) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A time in microseconds, for `$n * interval '1 microsecond'`; a century is the longest.
pub(super) fn interval(time: Duration) -> i64 {
    const CENTURY: i64 = 36_525 * 24 * 60 * 60 * 1_000_000;
    signed(time.as_micros()).min(CENTURY)
}

/// Text as the database can keep it: it has no U+0000, so a picture of that stands for it.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{2400}").into()
    } else {
        text.into()
    }
}

/// Exact to the microsecond, within the years that jiff has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Timestamp);

/// Seconds from 1970 to 2000, where the server counts from.
const EPOCH_SECONDS: i64 = 946_684_800;

/// The first moment that the server knows, a little rounded.
const FIRST_YEAR_MICROSECONDS: i64 = -210_860_000_000_000_000;

/// That moment as the store will give it back.
pub(super) fn stored(at: Timestamp) -> Timestamp {
    timestamp(microseconds(at))
}

/// Of the server's number. Its last moment is a little after the greatest whole microsecond that jiff
/// reads.
fn timestamp(since_2000: i64) -> Timestamp {
    let since_1970 = since_2000.saturating_add(EPOCH_SECONDS * 1_000_000);
    let beyond = if since_1970 < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_microsecond(since_1970).unwrap_or(beyond)
}

fn microseconds(at: Timestamp) -> i64 {
    let whole = at.as_nanosecond().div_euclid(1_000);
    let since_1970 = i64::try_from(whole).unwrap_or(i64::MAX);
    (since_1970 - EPOCH_SECONDS * 1_000_000).max(FIRST_YEAR_MICROSECONDS)
}

impl ToSql for Time {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(&microseconds(self.0).to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Time {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        let since_2000 = i64::from_sql(&Type::INT8, raw)
            .map_err(|_| format!("{} is no number of microseconds", of.name()))?;
        Ok(Self(timestamp(since_2000)))
    }

    accepts!(TIMESTAMPTZ);
}

macro_rules! uuids {
    ($($id:ident)*) => {$(
        impl ToSql for $id {
            fn to_sql(
                &self,
                of: &Type,
                out: &mut BytesMut,
            ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
                self.0.to_sql(of, out)
            }

            accepts!(UUID);
            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $id {
            fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
                Uuid::from_sql(of, raw).map(Self)
            }

            accepts!(UUID);
        }
    )*};
}
uuids! { JobId ReplicaId }

impl ToSql for Json {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(self.text().as_bytes());
        Ok(IsNull::No)
    }

    accepts!(TEXT);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Json {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self::from_text(String::from_sql(of, raw)?)?)
    }

    accepts!(TEXT);
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

pub(super) fn number(status: Status) -> i16 {
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

/// In the order of their numbers.
const DELIVERY_STATES: [DeliveryState; 5] = [
    DeliveryState::Waiting,
    DeliveryState::Pending,
    DeliveryState::Delivered,
    DeliveryState::Gone,
    DeliveryState::GivenUp,
];

fn delivery_number(state: DeliveryState) -> i16 {
    match state {
        DeliveryState::Waiting => 0,
        DeliveryState::Pending => 1,
        DeliveryState::Delivered => 2,
        DeliveryState::Gone => 3,
        DeliveryState::GivenUp => 4,
    }
}

macro_rules! numbered {
    ($($name:ident $all:ident $number:ident)*) => {$(
        impl ToSql for $name {
            fn to_sql(
                &self,
                of: &Type,
                out: &mut BytesMut,
            ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
                $number(*self).to_sql(of, out)
            }

            accepts!(INT2);
            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $name {
            fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
                let number = i16::from_sql(of, raw)?;
                let known = usize::try_from(number).ok().and_then(|index| $all.get(index));
                known.copied().ok_or_else(|| format!("no state has the number {number}").into())
            }

            accepts!(INT2);
        }
    )*};
}
numbered! { Status STATUSES number  DeliveryState DELIVERY_STATES delivery_number }

#[cfg(test)]
mod tests {
    use super::*;

    fn round<T: ToSql + for<'a> FromSql<'a>>(value: &T, of: &Type) -> T {
        let mut bytes = BytesMut::new();
        value.to_sql(of, &mut bytes).unwrap();
        T::from_sql(of, &bytes).unwrap()
    }

    #[test]
    fn a_time_keeps_its_microseconds() {
        for time in [
            "2026-11-24T21:57:25.123456789Z",
            "1969-12-31T23:59:59.999999999Z",
        ] {
            let time: Timestamp = time.parse().unwrap();
            let read = round(&Time(time), &Type::TIMESTAMPTZ).0;
            assert_eq!(read, stored(time));
            assert_eq!(
                read.as_microsecond(),
                i64::try_from(time.as_nanosecond().div_euclid(1_000)).unwrap()
            );
        }
    }

    #[test]
    fn a_time_too_far_away_stays_on_its_side() {
        let round = |time| round(&Time(time), &Type::TIMESTAMPTZ).0;
        assert!(round(Timestamp::MIN) < "-004000-01-01T00:00:00Z".parse().unwrap());
        assert!(round(Timestamp::MAX) > "9999-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn every_state_stands_at_its_number() {
        for status in Status::ALL {
            assert_eq!(round(&status, &Type::INT2), status);
        }
        for state in DELIVERY_STATES {
            assert_eq!(round(&state, &Type::INT2), state);
        }
        assert!(Status::from_sql(&Type::INT2, &[0, 7]).is_err());
    }

    #[test]
    fn a_nul_is_replaced_by_a_sign_for_it() {
        assert_eq!(storable("a\0b"), "a\u{2400}b");
        assert!(matches!(storable("ab"), Cow::Borrowed("ab")));
    }
}
