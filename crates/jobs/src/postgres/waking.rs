//! What wakes parked jobs: their time, and what claims hand to the replica that takes them.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::Failure;
use super::sessions::Session;
use super::values::{Time, signed, text};
use crate::id::{JobId, ReplicaId};
use crate::parking::WakeUp;
use crate::store::Lease;

/// Puts up to `most` parked jobs into the queue whose time to wake has come, the earliest first.
pub(super) async fn wake_due(
    session: &Session,
    most: usize,
    now: Timestamp,
) -> Result<(), Failure> {
    // With the token, as in `claims`: a job that was woken and parked again meanwhile waits for
    // another time.
    session
        .execute(
            "WITH seen AS MATERIALIZED (
                 SELECT a.job, a.token FROM flowmill.waits w
                 JOIN flowmill.active a ON a.job = w.job AND a.status = 6
                 WHERE w.wakes_at <= coalesce($2, now()) ORDER BY w.wakes_at LIMIT $1
             ), due AS MATERIALIZED (
                 SELECT a.job FROM seen s
                 JOIN flowmill.active a ON a.job = s.job AND a.token = s.token AND a.status = 6
                 ORDER BY a.job FOR UPDATE OF a SKIP LOCKED
             ), woken AS (
                 UPDATE flowmill.active a SET status = 0 FROM due WHERE a.job = due.job
             )
             DELETE FROM flowmill.waits w USING due WHERE w.job = due.job",
            &[
                (&signed(most), Type::INT8),
                (&session.now(now).map(Time), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    Ok(())
}

/// What has woken each of these jobs, for the replica that has just claimed them. From then on a job
/// that is parked waits for something new.
pub(super) async fn hand_out_wake_ups(
    session: &Session,
    by: ReplicaId,
    leases: &[Lease],
) -> Result<HashMap<JobId, Result<Vec<WakeUp>, tokio_postgres::Error>>, Failure> {
    let mut all = HashMap::<_, Result<Vec<WakeUp>, _>>::new();
    if leases.is_empty() {
        return Ok(all);
    }
    let jobs: Vec<JobId> = leases.iter().map(|lease| lease.job).collect();
    let tokens: Vec<i64> = leases.iter().map(|lease| signed(lease.token)).collect();
    // Not if the lease was lost meanwhile: another run may have parked the job since.
    let rows = session
        .query(
            "WITH seen AS (
                 UPDATE flowmill.wake_ups u SET is_unseen = false
                 FROM unnest($1, $2) AS l (job, token)
                 JOIN flowmill.active a ON a.job = l.job AND a.token = l.token AND a.replica = $3
                 WHERE u.job = l.job AND u.is_unseen
             )
             SELECT job, key, payload, at FROM flowmill.wake_ups WHERE job = ANY ($1)",
            &[
                (&jobs, Type::UUID_ARRAY),
                (&tokens, Type::INT8_ARRAY),
                (&by, Type::UUID),
            ],
        )
        .await?;
    for row in rows {
        let woken = all.entry(row.try_get(0)?).or_insert_with(|| Ok(Vec::new()));
        match (&mut *woken, wake_up(&row)) {
            (Ok(wake_ups), Ok(wake_up)) => wake_ups.push(wake_up),
            (Ok(_), Err(error)) => *woken = Err(error),
            (Err(_), _) => {}
        }
    }
    for wake_ups in all.values_mut().flatten() {
        wake_ups.sort_by(|one, other| (one.at, &one.key).cmp(&(other.at, &other.key)));
    }
    Ok(all)
}

/// After the job.
fn wake_up(row: &Row) -> Result<WakeUp, tokio_postgres::Error> {
    Ok(WakeUp {
        key: text(row, 1)?,
        payload: row.try_get(2)?,
        at: row.try_get::<_, Time>(3)?.0,
    })
}
