//! How many jobs have ended, and the bytes of all jobs.

use tokio_postgres::types::Type;

use super::fault::Failure;
use super::sessions::Transaction;

/// `$1` jobs have ended, and the jobs take `$2` bytes more. Each server process has a row of its own,
/// nearly always, so that transactions do not wait for each other. To be the last statement of its
/// transaction.
const ADD: &str = "INSERT INTO flowmill.tally AS t (slot, ended, bytes)
     VALUES (pg_backend_pid() % 1024, $1, $2)
     ON CONFLICT (slot) DO UPDATE
         SET ended = t.ended + excluded.ended, bytes = t.bytes + excluded.bytes";

/// Adds to the tally: the last statement of a transaction.
pub(super) async fn add(
    transaction: &Transaction<'_>,
    ended: i64,
    bytes: i64,
) -> Result<(), Failure> {
    if (ended, bytes) != (0, 0) {
        transaction
            .execute(ADD, &[(&ended, Type::INT8), (&bytes, Type::INT8)])
            .await?;
    }
    Ok(())
}

/// Writes without changing anything.
pub(super) async fn touch(transaction: &Transaction<'_>) -> Result<(), Failure> {
    let none = 0_i64;
    transaction
        .execute(ADD, &[(&none, Type::INT8), (&none, Type::INT8)])
        .await?;
    Ok(())
}
