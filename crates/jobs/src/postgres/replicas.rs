//! The replicas of the store: a row for each life of a process. One update extends its lease, however
//! many jobs it holds.
//!
//! That a lease has ended is not enough to take a replica's jobs: somebody has to declare it dead first,
//! under the lock of its row. A late beat changes the same row, so only one of the two succeeds. The
//! row of a dead replica stays until no job refers to it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::deaths::remove_dead;
use super::fault::Failure;
use super::values::{Time, signed, text, unsigned};
use crate::id::{JobId, ReplicaId};
use crate::job::Status;
use crate::replica::{Beat, Renewal, Replica, ReplicaState};
use crate::replicas::compare;
use crate::store::Error;

/// Longest lease, in microseconds: a century.
const LONGEST_LEASE: i64 = 100 * 365 * 24 * 60 * 60 * 1_000_000;

impl PostgresStore {
    /// Fails with [`Error::Fenced`] for an id whose replica was declared dead.
    pub(super) async fn register(&self, replica: &Replica, now: Timestamp) -> Result<(), Error> {
        let replica = replica.clone();
        self.sessions
            .run(move |session| {
                let replica = replica.clone();
                Box::pin(async move {
                    let registered = session
                        .execute(
                            "INSERT INTO flowmill.replicas AS r
                                 (id, name, version, level, registered_at, lease_until)
                             SELECT $1, $2, $3, $4, at, at + $5 * interval '1 microsecond'
                             FROM coalesce($6, now()) AS at
                             ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
                                 WHERE NOT r.is_dead",
                            &[
                                (&replica.id, Type::UUID),
                                (&&*replica.name, Type::TEXT),
                                (&&*replica.version, Type::TEXT),
                                (&level(replica.level), Type::INT4),
                                (&microseconds(replica.lease_for), Type::INT8),
                                (&session.now(now).map(Time), Type::TIMESTAMPTZ),
                            ],
                        )
                        .await?;
                    match registered {
                        0 => Err(Error::Fenced(replica.id).into()),
                        _ => Ok(()),
                    }
                })
            })
            .await
    }

    /// One statement, which also reads the jobs that it holds.
    pub(super) async fn beat(
        &self,
        by: ReplicaId,
        renewal: Renewal<'_>,
        now: Timestamp,
    ) -> Result<Beat, Error> {
        let lease_for = microseconds(renewal.lease_for);
        let is_draining = renewal.is_draining;
        let held = self
            .sessions
            .run(move |session| {
                Box::pin(async move {
                    let rows = session
                        .query(
                            "WITH alive AS (
                                 UPDATE flowmill.replicas
                                 SET lease_until = coalesce($2, now()) + $3 * interval '1 microsecond',
                                     is_draining = $4
                                 WHERE id = $1 AND NOT is_dead
                                 RETURNING id
                             )
                             SELECT a.job, a.token, a.status FROM alive
                             LEFT JOIN flowmill.active a ON a.replica = alive.id AND a.status IN (1, 2)",
                            &[
                                (&by, Type::UUID),
                                (&session.now(now).map(Time), Type::TIMESTAMPTZ),
                                (&lease_for, Type::INT8),
                                (&is_draining, Type::BOOL),
                            ],
                        )
                        .await?;
                    if rows.is_empty() {
                        return Err(Error::Fenced(by).into());
                    }
                    held(&rows)
                })
            })
            .await?;
        Ok(compare(by, renewal.leases, held))
    }

    /// The row stays, as that of a dead replica, if jobs refer to it.
    pub(super) async fn deregister(&self, id: ReplicaId) -> Result<(), Error> {
        self.sessions
            .run(move |session| {
                Box::pin(async move {
                    session
                        .execute(
                            "UPDATE flowmill.replicas SET is_dead = true WHERE id = $1 AND NOT is_dead",
                            &[(&id, Type::UUID)],
                        )
                        .await?;
                    remove_dead(session).await
                })
            })
            .await
    }

    pub(super) async fn replicas(&self) -> Result<Vec<ReplicaState>, Error> {
        self.sessions
            .run(|session| {
                Box::pin(async move {
                    let rows = session
                        .query(
                            "SELECT r.id, r.name, r.version, r.is_draining, r.lease_until,
                                 (SELECT count(*) FROM flowmill.active a
                                  WHERE a.replica = r.id AND a.status IN (1, 2))
                             FROM flowmill.replicas r WHERE NOT r.is_dead
                             ORDER BY r.registered_at, r.id",
                            &[],
                        )
                        .await?;
                    rows.iter().map(state).collect()
                })
            })
            .await
    }

    pub(super) async fn cancelling(&self, by: ReplicaId) -> Result<Vec<JobId>, Error> {
        self.sessions
            .run(move |session| {
                Box::pin(async move {
                    let rows = session
                        .query(
                            "SELECT job FROM flowmill.active WHERE replica = $1 AND status = 2",
                            &[(&by, Type::UUID)],
                        )
                        .await?;
                    let id = |row: &Row| Ok(row.try_get(0)?);
                    rows.iter().map(id).collect()
                })
            })
            .await
    }
}

/// By their jobs: the tokens of the leases, and whether the jobs were asked to stop. One row without a
/// job says that there are none.
fn held(rows: &[Row]) -> Result<BTreeMap<JobId, (u64, bool)>, Failure> {
    let mut held = BTreeMap::new();
    for row in rows {
        if let Some(job) = row.try_get(0)? {
            let is_cancelling = row.try_get::<_, Status>(2)? == Status::Cancelling;
            held.insert(job, (unsigned(row.try_get(1)?), is_cancelling));
        }
    }
    Ok(held)
}

fn state(row: &Row) -> Result<ReplicaState, Failure> {
    Ok(ReplicaState {
        id: row.try_get(0)?,
        name: text(row, 1)?,
        version: text(row, 2)?,
        is_draining: row.try_get(3)?,
        lease_until: row.try_get::<_, Time>(4)?.0,
        running: usize::try_from(row.try_get::<_, i64>(5)?).unwrap_or_default(),
    })
}

/// As the column of levels has it.
fn level(level: u32) -> i32 {
    i32::try_from(level).unwrap_or(i32::MAX)
}

fn microseconds(lease_for: Duration) -> i64 {
    signed(lease_for.as_micros()).min(LONGEST_LEASE)
}
