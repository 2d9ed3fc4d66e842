//! What ends a lease or a job without a run: handing back, a cancel, a record that cannot be read.

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::fault::Failure;
use super::sessions::Session;
use super::unfinished::{end, ended, lock};
use super::values::signed;
use crate::id::JobId;
use crate::job::Transition;
use crate::store::{CancelRequested, Error, Lease};

impl PostgresStore {
    pub(super) async fn hand_back(&self, lease: &Lease) -> Result<(), Error> {
        let lease = *lease;
        self.sessions
            .run(move |session| {
                Box::pin(async move {
                    let handed_back = session
                        .execute(
                            "UPDATE flowmill.active
                             SET status = CASE status WHEN 1 THEN 0 ELSE 2 END,
                                 attempts = attempts - 1, starts = starts - 1, token = token + 1,
                                 replica = NULL
                             WHERE job = $1 AND token = $2 AND replica = $3 AND status IN (1, 2)",
                            &[
                                (&lease.job, Type::UUID),
                                (&signed(lease.token), Type::INT8),
                                (&lease.replica, Type::UUID),
                            ],
                        )
                        .await?;
                    match handed_back {
                        0 => Err(Error::LeaseLost(lease.job).into()),
                        _ => Ok(()),
                    }
                })
            })
            .await
    }

    pub(super) async fn request_cancel(
        &self,
        id: JobId,
        now: Timestamp,
    ) -> Result<CancelRequested, Error> {
        self.sessions
            .run(move |session| Box::pin(cancel(session, id, now)))
            .await
    }
}

async fn cancel(
    session: &mut Session,
    id: JobId,
    now: Timestamp,
) -> Result<CancelRequested, Failure> {
    let transaction = session.transaction().await?;
    let Some(from) = lock(&transaction, id).await? else {
        return Ok(CancelRequested::Ended(ended(&transaction, id).await?));
    };
    let to = from
        .after(Transition::RequestCancel)
        .ok_or(Failure::Conflict)?;
    if to.is_final() {
        let now = transaction.now(now);
        end(&transaction, id, to, None, now).await?;
    } else if to != from {
        transaction
            .execute(
                "UPDATE flowmill.active SET status = $2 WHERE job = $1",
                &[(&id, Type::UUID), (&to, Type::INT2)],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(if to.is_final() {
        CancelRequested::Cancelled
    } else {
        CancelRequested::Cancelling
    })
}
