//! Claiming jobs that were seen.

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::Failure;
use super::queue::{Claimant, Seen, columns};
use super::sessions::Session;
use super::unfinished::fail_unreadable;
use super::values::{JOB_COLUMN_COUNT, JOB_COLUMNS, Time, job, signed, small, unsigned};
use super::waking::hand_out_wake_ups;
use crate::id::JobId;
use crate::job::{Status, Workload};
use crate::parking::WakeUp;
use crate::store::{Claimed, Lease, PROGRESS_EVENT};

/// What jobs are claimed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Queue,
    /// The queue and the parked jobs.
    Deadline,
    /// Replicas that are not alive.
    Lapse,
}

impl Source {
    fn statuses(self) -> &'static [Status] {
        match self {
            Self::Queue => &[Status::Pending],
            Self::Deadline => &[Status::Pending, Status::Waiting],
            Self::Lapse => &[Status::Running, Status::Cancelling],
        }
    }

    /// What else a claim changes.
    fn further_changes(self) -> &'static str {
        match self {
            Self::Deadline => {
                ", unparked AS (
                    DELETE FROM flowmill.waits w USING claimed c WHERE w.job = c.job
                )"
            }
            Self::Queue | Self::Lapse => "",
        }
    }
}

/// A claimed job.
pub(super) struct Taken {
    lease: Lease,
    was_lost: bool,
    row: Row,
}

/// Claims of these jobs as many as are wanted, those that come first, as far as they are still as they
/// were seen.
pub(super) async fn take(
    session: &Session,
    claimant: Claimant,
    source: Source,
    due: &[Seen],
) -> Result<Vec<Taken>, Failure> {
    let sql = format!(
        "WITH due AS MATERIALIZED (
             SELECT a.job FROM unnest($2, $3) WITH ORDINALITY AS s (job, token, place)
             JOIN flowmill.active a ON a.job = s.job AND a.token = s.token
             JOIN flowmill.replicas me ON me.id = $1 AND NOT me.is_dead AND a.level <= me.level
             WHERE a.status = ANY ($4)
             ORDER BY s.place LIMIT $5 FOR UPDATE OF a SKIP LOCKED
         ), claimed AS (
             UPDATE flowmill.active a
             SET status = CASE a.status WHEN 2 THEN 2 ELSE 1 END, token = a.token + 1,
                 replica = $1, attempts = a.attempts + 1,
                 started_at = coalesce(a.started_at, $6, now()),
                 starts = 1 + CASE WHEN EXISTS (
                     SELECT FROM flowmill.events e
                     WHERE e.job = a.job AND e.id > a.claimed_at_event AND e.kind = $7
                 ) THEN 0 ELSE a.starts END,
                 claimed_at_event = coalesce(
                     (SELECT max(e.id) FROM flowmill.events e WHERE e.job = a.job), 0
                 )
             FROM due WHERE a.job = due.job
             RETURNING a.*
         ){further_changes}
         SELECT {JOB_COLUMNS}, a.job, a.token, a.starts, a.claimed_at_event,
             w.inputs, w.options, p.data,
             EXISTS (SELECT FROM flowmill.wake_ups u WHERE u.job = a.job)
         FROM claimed a
         LEFT JOIN flowmill.jobs j ON j.id = a.job
         LEFT JOIN flowmill.webhooks h ON h.job = a.job
         LEFT JOIN flowmill.work w ON w.job = a.job
         LEFT JOIN flowmill.progress p ON p.job = a.job",
        further_changes = source.further_changes(),
    );
    let (jobs, tokens) = columns(due);
    let rows = session
        .query(
            &sql,
            &[
                (&claimant.by, Type::UUID),
                (&jobs, Type::UUID_ARRAY),
                (&tokens, Type::INT8_ARRAY),
                (&source.statuses(), Type::INT2_ARRAY),
                (&signed(claimant.most), Type::INT8),
                (&session.now(claimant.now).map(Time), Type::TIMESTAMPTZ),
                (&PROGRESS_EVENT, Type::TEXT),
            ],
        )
        .await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in rows {
        let lease = Lease {
            job: row.try_get(JOB_COLUMN_COUNT)?,
            token: unsigned(row.try_get(JOB_COLUMN_COUNT + 1)?),
            replica: claimant.by,
        };
        taken.push(Taken {
            lease,
            was_lost: source == Source::Lapse,
            row,
        });
    }
    let places: HashMap<JobId, usize> = jobs.into_iter().zip(0..).collect();
    taken.sort_by_key(|taken| places.get(&taken.lease.job).copied());
    Ok(taken)
}

/// The claimed jobs with what has woken them. Those that cannot be read end.
pub(super) async fn given(
    session: &mut Session,
    claimant: Claimant,
    taken: Vec<Taken>,
) -> Result<Vec<Claimed>, Failure> {
    let mut woken = Vec::new();
    for taken in &taken {
        if taken.row.try_get(JOB_COLUMN_COUNT + 7)? {
            woken.push(taken.lease);
        }
    }
    let mut wake_ups = hand_out_wake_ups(session, claimant.by, &woken).await?;
    let mut claimed = Vec::with_capacity(taken.len());
    for taken in taken {
        let wake_ups = wake_ups.remove(&taken.lease.job).unwrap_or(Ok(Vec::new()));
        match wake_ups.and_then(|wake_ups| read(&taken, wake_ups)) {
            Ok(job) => claimed.push(job),
            Err(error) => {
                fail_unreadable(session, &taken.lease, &error.to_string(), claimant.now).await?;
            }
        }
    }
    Ok(claimed)
}

fn read(taken: &Taken, wake_ups: Vec<WakeUp>) -> Result<Claimed, tokio_postgres::Error> {
    let row = &taken.row;
    Ok(Claimed {
        job: job(row)?,
        lease: taken.lease,
        starts: small(row.try_get(JOB_COLUMN_COUNT + 2)?),
        last_event: unsigned(row.try_get(JOB_COLUMN_COUNT + 3)?),
        workload: Workload {
            inputs: row.try_get(JOB_COLUMN_COUNT + 4)?,
            options: row.try_get(JOB_COLUMN_COUNT + 5)?,
            progress: row.try_get(JOB_COLUMN_COUNT + 6)?,
        },
        was_lost: taken.was_lost,
        wake_ups,
    })
}
