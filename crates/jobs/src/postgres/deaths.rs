//! Replicas that have died: declaring them dead, and forgetting them.

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::fault::Failure;
use super::sessions::Session;
use super::values::Time;
use crate::id::ReplicaId;

/// Declares those dead whose lease has ended, but not the one that asks. Of several that do so at
/// once, one declares each. A row that is locked is left alone: its replica beats, or another one
/// declares it dead.
pub(super) async fn declare_dead(
    session: &Session,
    by: ReplicaId,
    now: Timestamp,
) -> Result<(), Failure> {
    let declared = session
        .query(
            "WITH late AS MATERIALIZED (
                 SELECT id FROM flowmill.replicas
                 WHERE lease_until <= coalesce($2, now()) AND NOT is_dead AND id <> $1
                 ORDER BY id FOR UPDATE SKIP LOCKED
             )
             UPDATE flowmill.replicas r SET is_dead = true FROM late WHERE r.id = late.id
             RETURNING r.id, r.name",
            &[
                (&by, Type::UUID),
                (&session.now(now).map(Time), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    for row in declared {
        let (id, name): (ReplicaId, &str) = (row.try_get(0)?, row.try_get(1)?);
        tracing::warn!(
            replica = %id, name,
            "a replica has not been heard of for as long as its lease lasts: it counts as dead, and \
             others continue its runs"
        );
    }
    Ok(())
}

/// Forgets dead replicas that hold no jobs any more.
pub(super) async fn remove_dead(session: &Session) -> Result<(), Failure> {
    session
        .execute(
            "DELETE FROM flowmill.replicas WHERE id IN (
                 SELECT r.id FROM flowmill.replicas r
                 WHERE r.is_dead AND NOT EXISTS (
                     SELECT FROM flowmill.active a WHERE a.replica = r.id AND a.status IN (1, 2)
                 )
                 FOR UPDATE SKIP LOCKED
             )",
            &[],
        )
        .await?;
    Ok(())
}
