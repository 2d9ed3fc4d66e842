//! The rows of jobs that have not ended: locking them, and ending a job without a run that reports on
//! it.

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::fault::Failure;
use super::sessions::{Session, Transaction};
use super::tally;
use super::values::{Time, signed};
use crate::id::JobId;
use crate::job::Status;
use crate::store::{Error, Lease};

/// The `error` of a job that was set aside.
const UNREADABLE: &str =
    "The job's record in the store cannot be read, so it was not executed; submit it anew.";

/// Locks a job that has not ended, and returns its status.
pub(super) async fn lock(
    transaction: &Transaction<'_>,
    id: JobId,
) -> Result<Option<Status>, Failure> {
    let rows = transaction
        .query(
            "SELECT status FROM flowmill.active WHERE job = $1 FOR UPDATE",
            &[(&id, Type::UUID)],
        )
        .await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

/// Locks the job of a lease that holds, and returns its status.
pub(super) async fn lock_held(
    transaction: &Transaction<'_>,
    lease: &Lease,
) -> Result<Status, Failure> {
    let rows = transaction
        .query(
            "SELECT status FROM flowmill.active
             WHERE job = $1 AND token = $2 AND replica = $3 AND status IN (1, 2) FOR UPDATE",
            &[
                (&lease.job, Type::UUID),
                (&signed(lease.token), Type::INT8),
                (&lease.replica, Type::UUID),
            ],
        )
        .await?;
    let row = rows.first().ok_or(Error::LeaseLost(lease.job))?;
    Ok(row.try_get(0)?)
}

/// Of a job that [`lock`] did not find: how it has ended.
pub(super) async fn ended(transaction: &Transaction<'_>, id: JobId) -> Result<Status, Failure> {
    let rows = transaction
        .query(
            "SELECT status FROM flowmill.jobs WHERE id = $1",
            &[(&id, Type::UUID)],
        )
        .await?;
    let row = rows.first().ok_or(Error::NotFound)?;
    // Without a status, it was submitted since.
    row.try_get::<_, Option<Status>>(0)?
        .ok_or(Failure::Conflict)
}

/// Ends a job whose record cannot be read, so that it does not block the others.
pub(super) async fn fail_unreadable(
    session: &mut Session,
    lease: &Lease,
    reason: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    tracing::error!(
        job = %lease.job, reason,
        "the record of a job cannot be read; the job ends as failed"
    );
    let transaction = session.transaction().await?;
    match lock_held(&transaction, lease).await {
        Ok(_) => {}
        Err(Failure::Refused(_)) => return Ok(()),
        Err(failure) => return Err(failure),
    }
    let now = transaction.now(now);
    end(
        &transaction,
        lease.job,
        Status::Failed,
        Some(UNREADABLE),
        now,
    )
    .await?;
    transaction.commit().await
}

/// Ends a job without a run that reports on it. Its row in `active` is locked.
pub(super) async fn end(
    transaction: &Transaction<'_>,
    id: JobId,
    status: Status,
    error: Option<&str>,
    now: Option<Timestamp>,
) -> Result<(), Failure> {
    let ended = transaction
        .query(
            "WITH gone AS (
                 DELETE FROM flowmill.active WHERE job = $1
                 RETURNING job, started_at, attempts,
                     coalesce((SELECT sum(octet_length(e.data)) FROM flowmill.events e
                               WHERE e.job = $1), 0)
                     + coalesce((SELECT pg_column_size(p.data) FROM flowmill.progress p
                                 WHERE p.job = $1), 0) AS bytes
             ), unparked AS (
                 DELETE FROM flowmill.waits WHERE job = $1
             ), told AS (
                 UPDATE flowmill.webhooks SET state = 1, due_at = coalesce($2, now())
                 WHERE job = $1
             )
             UPDATE flowmill.jobs j
             SET status = $3, completed_at = coalesce($2, now()), error = $4,
                 started_at = gone.started_at, attempts = gone.attempts,
                 bytes = j.bytes + gone.bytes
             FROM gone WHERE j.id = gone.job
             RETURNING gone.bytes::int8",
            &[
                (&id, Type::UUID),
                (&now.map(Time), Type::TIMESTAMPTZ),
                (&status, Type::INT2),
                (&error, Type::TEXT),
            ],
        )
        .await?;
    match ended.first() {
        Some(row) => tally::add(transaction, 1, row.try_get(0)?).await,
        // Its record is gone.
        None => Ok(()),
    }
}
