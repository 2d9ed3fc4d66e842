//! Deleting ended jobs. All replicas do it at once: each takes jobs that no other one has locked.
//!
//! A job's rows go in one statement, with its row in `jobs` locked first. What is counted in the tally
//! goes with them.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::fault::Failure;
use super::sessions::{Params, Session};
use super::values::{Time, interval, signed};
use crate::id_time::time_in;
use crate::job::JobId;
use crate::store::{Error, IDEMPOTENCY_KEPT};

/// Most jobs that one statement deletes.
const CHUNK: usize = 128;

/// Most bytes of payloads that one statement deletes, unless a single job has more: it must end long
/// before callers lose patience.
const CHUNK_BYTES: i64 = 32 << 20;

/// How long after its newest job a definition stays at least. Submissions touch it once a day.
const DEFINITION_KEPT: SignedDuration = SignedDuration::from_hours(48);

/// Names the lock of those that free space: one at a time, or each would free as much as is too much.
const SPACE_LOCK: i64 = 0x666c_6f77_0000_0001;

impl PostgresStore {
    pub(super) async fn delete(&self, id: JobId) -> Result<(), Error> {
        let sql: Arc<str> = forget(ONE).into();
        self.sessions
            .run(move |session| Box::pin(delete(session, sql.clone(), id)))
            .await
    }

    pub(super) async fn expire(
        &self,
        kept_for: Duration,
        most: usize,
        now: Timestamp,
    ) -> Result<usize, Error> {
        let sql: Arc<str> = forget(EXPIRED).into();
        let expired = in_chunks(most, |most| {
            let sql = sql.clone();
            self.sessions
                .run(move |session| Box::pin(expire(session, sql.clone(), kept_for, most, now)))
        })
        .await?;
        self.drop_unused_definitions(expired).await?;
        Ok(expired)
    }

    /// What idempotency keys take is not counted, so that none goes here.
    pub(super) async fn expire_over(&self, max_bytes: u64, most: usize) -> Result<usize, Error> {
        let statements: Arc<[String]> = [forget(OLDEST), forget(OWING)].into();
        let freed = in_chunks(most, |most| {
            let statements = statements.clone();
            self.sessions
                .run(move |session| Box::pin(free(session, statements.clone(), max_bytes, most)))
        })
        .await?;
        self.drop_unused_definitions(freed).await?;
        Ok(freed)
    }

    pub(super) async fn expire_keys(&self, most: usize, now: Timestamp) -> Result<usize, Error> {
        self.sessions
            .run(move |session| Box::pin(expire_keys(session, most, now)))
            .await
    }

    /// After some jobs have gone.
    async fn drop_unused_definitions(&self, jobs: usize) -> Result<(), Error> {
        if jobs == 0 {
            return Ok(());
        }
        self.sessions
            .run(|session| Box::pin(drop_unused_definitions(session)))
            .await
    }
}

/// `$1`: the job.
const ONE: &str = "SELECT id FROM flowmill.jobs WHERE id = $1 AND status IS NOT NULL FOR UPDATE";

/// `$1`: now; `$2`: microseconds that jobs are kept; `$3`: how many; `$4`: bytes.
const EXPIRED: &str = "
    SELECT old.id FROM (
        SELECT o.id, sum(o.bytes) OVER (ORDER BY o.completed_at, o.id) - o.bytes AS bytes_before
        FROM (
            SELECT id, completed_at, bytes FROM flowmill.jobs
            WHERE completed_at < coalesce($1, now()) - $2 * interval '1 microsecond'
                AND NOT owes_webhook
            ORDER BY completed_at, id LIMIT $3 FOR UPDATE SKIP LOCKED) o) old
    WHERE old.bytes_before < $4";

/// `$1`: bytes that may stay; `$2`: how many; `$3`: bytes.
const OLDEST: &str = "
    SELECT old.id FROM (
        SELECT o.id, sum(o.bytes) OVER (ORDER BY o.completed_at, o.id) - o.bytes AS bytes_before
        FROM (
            SELECT id, completed_at, bytes FROM flowmill.jobs
            WHERE completed_at IS NOT NULL AND NOT owes_webhook
            ORDER BY completed_at, id LIMIT $2 FOR UPDATE SKIP LOCKED) o) old
    WHERE old.bytes_before < least($3, (SELECT coalesce(sum(bytes), 0) FROM flowmill.tally) - $1)";

/// As [`OLDEST`], of the jobs whose webhook is not settled: those first whose webhook would be tried
/// last, since their receiver has failed most often.
const OWING: &str = "
    SELECT old.id FROM (
        SELECT o.id, sum(o.bytes) OVER (ORDER BY o.due_at DESC, o.id) - o.bytes AS bytes_before
        FROM (
            SELECT j.id, j.bytes, h.due_at FROM flowmill.webhooks h JOIN flowmill.jobs j ON j.id = h.job
            WHERE h.due_at IS NOT NULL AND j.status IS NOT NULL
            ORDER BY h.due_at DESC LIMIT $2 FOR UPDATE OF j SKIP LOCKED) o) old
    WHERE old.bytes_before < least($3, (SELECT coalesce(sum(bytes), 0) FROM flowmill.tally) - $1)";

/// Deletes everything of the jobs that `victims` selects and locks, but their idempotency keys; returns
/// how many there were. Others that change several keys lock them in the order of scope and key, too,
/// and the tally last. `OFFSET 0` makes the planner look up each job in the index, whatever it
/// believes about large tables.
fn forget(victims: &str) -> String {
    format!(
        "WITH victim AS MATERIALIZED ({victims}),
         gone AS (
             DELETE FROM flowmill.jobs j USING victim v WHERE j.id = v.id
             RETURNING j.id, j.status, j.bytes),
         held_key AS MATERIALIZED (
             SELECT k.scope, k.key, k.job FROM flowmill.idempotency_keys k
             WHERE k.job = ANY (ARRAY (SELECT id FROM gone)) AND k.ctid = ANY (ARRAY (
                 SELECT f.ctid FROM gone g CROSS JOIN LATERAL (
                     SELECT ctid FROM flowmill.idempotency_keys WHERE job = g.id OFFSET 0) f))
             ORDER BY k.scope, k.key FOR UPDATE OF k),
         kept_key AS (
             UPDATE flowmill.idempotency_keys k
             SET gone = (SELECT g.status FROM gone g WHERE g.id = h.job)
             FROM held_key h WHERE k.scope = h.scope AND k.key = h.key RETURNING 1),
         gone_work AS (DELETE FROM flowmill.work w USING gone g WHERE w.job = g.id),
         gone_progress AS (DELETE FROM flowmill.progress p USING gone g WHERE p.job = g.id),
         gone_outputs AS (DELETE FROM flowmill.outputs o USING gone g WHERE o.job = g.id),
         gone_events AS (
             DELETE FROM flowmill.events WHERE ctid = ANY (ARRAY (
                 SELECT e.ctid FROM gone g CROSS JOIN LATERAL (
                     SELECT ctid FROM flowmill.events WHERE job = g.id OFFSET 0) e))),
         gone_wake_ups AS (
             DELETE FROM flowmill.wake_ups WHERE ctid = ANY (ARRAY (
                 SELECT w.ctid FROM gone g CROSS JOIN LATERAL (
                     SELECT ctid FROM flowmill.wake_ups WHERE job = g.id OFFSET 0) w))),
         gone_webhooks AS (DELETE FROM flowmill.webhooks h USING gone g WHERE h.job = g.id),
         less AS (
             INSERT INTO flowmill.tally AS t (slot, ended, bytes)
             SELECT pg_backend_pid() % 1024, -g.jobs, -g.bytes
             FROM (SELECT count(*) AS jobs, coalesce(sum(bytes), 0) AS bytes FROM gone) g,
                 (SELECT count(*) FROM kept_key) k
             WHERE g.jobs > 0
             ON CONFLICT (slot) DO UPDATE
                 SET ended = t.ended + excluded.ended, bytes = t.bytes + excluded.bytes)
         SELECT count(*) FROM gone"
    )
}

async fn delete(session: &mut Session, sql: Arc<str>, id: JobId) -> Result<(), Failure> {
    while forgotten(session, &sql, &[(&id, Type::UUID)]).await? == 0 {
        let has_ended = "SELECT status IS NOT NULL FROM flowmill.jobs WHERE id = $1";
        let found = session.query(has_ended, &[(&id, Type::UUID)]).await?;
        let has_ended: bool = found.first().ok_or(Error::NotFound)?.try_get(0)?;
        if !has_ended {
            return Err(Error::Active(id).into());
        }
        // It has ended since the statement before.
    }
    Ok(())
}

async fn expire(
    session: &mut Session,
    sql: Arc<str>,
    kept_for: Duration,
    most: usize,
    now: Timestamp,
) -> Result<usize, Failure> {
    let parameters: Params<'_> = &[
        (&session.now(now).map(Time), Type::TIMESTAMPTZ),
        (&interval(kept_for), Type::INT8),
        (&signed(most), Type::INT8),
        (&CHUNK_BYTES, Type::INT8),
    ];
    forgotten(session, &sql, parameters).await
}

/// Deletes jobs by the first statement that finds any, if the store takes too much and nobody else is
/// at it.
async fn free(
    session: &mut Session,
    statements: Arc<[String]>,
    max_bytes: u64,
    most: usize,
) -> Result<usize, Failure> {
    let (max_bytes, most) = (signed(max_bytes), signed(most));
    let taken = "SELECT coalesce(sum(bytes), 0)::bigint FROM flowmill.tally";
    let taken = session.query(taken, &[]).await?;
    let taken: i64 = taken.first().map_or(Ok(0), |row| row.try_get(0))?;
    if taken <= max_bytes {
        return Ok(0);
    }
    let transaction = session.transaction().await?;
    let lock = "SELECT pg_try_advisory_xact_lock($1)";
    let locked = transaction
        .query(lock, &[(&SPACE_LOCK, Type::INT8)])
        .await?;
    let is_alone = locked.first().map_or(Ok(false), |row| row.try_get(0))?;
    let mut freed = 0;
    if is_alone {
        for sql in &*statements {
            let parameters: Params<'_> = &[
                (&max_bytes, Type::INT8),
                (&most, Type::INT8),
                (&CHUNK_BYTES, Type::INT8),
            ];
            freed = count(&transaction.query(sql, parameters).await?)?;
            if freed > 0 {
                break;
            }
        }
    }
    transaction.commit().await?;
    Ok(freed)
}

async fn expire_keys(session: &mut Session, most: usize, now: Timestamp) -> Result<usize, Failure> {
    let parameters: Params<'_> = &[
        (&session.now(now).map(Time), Type::TIMESTAMPTZ),
        (&interval(IDEMPOTENCY_KEPT), Type::INT8),
        (&signed(most), Type::INT8),
    ];
    let deleted = session
        .execute(
            "WITH old AS MATERIALIZED (
                 SELECT scope, key FROM flowmill.idempotency_keys
                 WHERE gone IS NOT NULL
                     AND used_at < coalesce($1, now()) - $2 * interval '1 microsecond'
                 ORDER BY used_at LIMIT $3 FOR UPDATE SKIP LOCKED)
             DELETE FROM flowmill.idempotency_keys k USING old
             WHERE k.scope = old.scope AND k.key = old.key",
            parameters,
        )
        .await?;
    Ok(usize::try_from(deleted).unwrap_or(usize::MAX))
}

/// Deletes the definitions that no job has, once they are old: those that are in use were touched when
/// their newest job was submitted. Only definitions older than every job are looked at, since it
/// takes a scan of all jobs to be sure.
async fn drop_unused_definitions(session: &mut Session) -> Result<(), Failure> {
    let ages = "SELECT (SELECT min(last_used) FROM flowmill.definitions),
        (now() AT TIME ZONE 'UTC')::date, (SELECT id FROM flowmill.jobs ORDER BY id LIMIT 1)";
    let rows = session.query(ages, &[]).await?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let (least_used, today): (Option<Date>, Date) = (row.try_get(0)?, row.try_get(1)?);
    let oldest_job: Option<JobId> = row.try_get(2)?;
    let oldest_job = oldest_job
        .and_then(|id| day_of(time_in(id)))
        .unwrap_or(today);
    let used_before = today.min(oldest_job).saturating_sub(DEFINITION_KEPT);
    if least_used.is_some_and(|least_used| least_used < used_before) {
        let unused = "WITH unused AS MATERIALIZED (
                SELECT d.hash FROM flowmill.definitions d
                WHERE d.last_used < $1
                    AND NOT EXISTS (SELECT FROM flowmill.jobs j WHERE j.definition = d.hash)
                ORDER BY d.hash FOR UPDATE OF d SKIP LOCKED)
            DELETE FROM flowmill.definitions d USING unused u WHERE d.hash = u.hash";
        session
            .execute(unused, &[(&used_before, Type::DATE)])
            .await?;
    }
    Ok(())
}

/// Deletes up to `most` jobs by statements for up to [`CHUNK`] each, until one finds none. A failure
/// after the first chunk ends the loop, and what was done stays done.
async fn in_chunks<V: Future<Output = Result<usize, Error>>>(
    most: usize,
    forget: impl Fn(usize) -> V,
) -> Result<usize, Error> {
    let mut done = 0;
    while done < most {
        match forget(CHUNK.min(most - done)).await {
            Ok(0) => break,
            Ok(chunk) => done += chunk,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// In UTC.
fn day_of(ms: i64) -> Option<Date> {
    let at = Timestamp::from_millisecond(ms).ok()?;
    Some(Offset::UTC.to_datetime(at).date())
}

async fn forgotten(session: &Session, sql: &str, parameters: Params<'_>) -> Result<usize, Failure> {
    count(&session.query(sql, parameters).await?)
}

fn count(rows: &[Row]) -> Result<usize, Failure> {
    let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}
