//! Jobs that wait for something outside: parked by their replica, woken by others or by the time. All
//! lock the job's row in `active` first, so a wake-up comes either before the job is parked or after.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::commands::Checkpoint;
use super::endings::save;
use super::fault::Failure;
use super::sessions::Session;
use super::unfinished::{ended, lock, lock_held};
use super::values::{Time, signed, storable, text};
use crate::id::JobId;
use crate::job::{Status, Transition};
use crate::json::Json;
use crate::parking::{MAX_WAKE_UPS, Parked, Wait, WakeUp, Woken};
use crate::store::{Error, Lease, StoredEvent};

impl PostgresStore {
    pub(super) async fn park(
        &self,
        lease: &Lease,
        wait: Wait,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<Parked, Error> {
        let checkpoint = Checkpoint {
            lease: *lease,
            progress,
            events,
        };
        let parking = Arc::new((checkpoint, wait));
        self.sessions
            .run(move |session| {
                let parking = parking.clone();
                Box::pin(async move { park(session, &parking.0, &parking.1).await })
            })
            .await
    }

    pub(super) async fn wake(&self, id: JobId, wake_up: WakeUp) -> Result<Woken, Error> {
        self.sessions
            .run(move |session| Box::pin(wake(session, id, wake_up.clone())))
            .await
    }

    pub(super) async fn waits_for(&self, id: JobId) -> Result<Option<Wait>, Error> {
        self.sessions
            .run(move |session| {
                Box::pin(async move {
                    let rows = session
                        .query(
                            "SELECT w.kind, w.wakes_at, w.details FROM flowmill.active a
                             JOIN flowmill.waits w ON w.job = a.job
                             WHERE a.job = $1 AND a.status = 6",
                            &[(&id, Type::UUID)],
                        )
                        .await?;
                    Ok(rows.first().map(wait).transpose()?)
                })
            })
            .await
    }
}

async fn park(
    session: &mut Session,
    checkpoint: &Checkpoint,
    wait: &Wait,
) -> Result<Parked, Failure> {
    let lease = &checkpoint.lease;
    let transaction = session.transaction().await?;
    let from = lock_held(&transaction, lease).await?;
    let Some(waiting) = from.after(Transition::Park) else {
        return Ok(Parked::Cancelling);
    };
    save(&transaction, &[checkpoint]).await?;
    let is_woken = transaction
        .query(
            "SELECT FROM flowmill.wake_ups WHERE job = $1 AND is_unseen LIMIT 1",
            &[(&lease.job, Type::UUID)],
        )
        .await?;
    let is_woken = !is_woken.is_empty();
    let to = if is_woken { Status::Pending } else { waiting };
    transaction
        .execute(
            "UPDATE flowmill.active
             SET status = $2, attempts = attempts - 1, starts = 0, token = token + 1, replica = NULL
             WHERE job = $1",
            &[(&lease.job, Type::UUID), (&to, Type::INT2)],
        )
        .await?;
    if !is_woken {
        transaction
            .execute(
                "INSERT INTO flowmill.waits (job, kind, wakes_at, details) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (job) DO UPDATE SET kind = excluded.kind,
                     wakes_at = excluded.wakes_at, details = excluded.details",
                &[
                    (&lease.job, Type::UUID),
                    (&storable(&wait.kind), Type::TEXT),
                    (&wait.wakes_at.map(Time), Type::TIMESTAMPTZ),
                    (&wait.details, Type::TEXT),
                ],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(if is_woken {
        Parked::Queued
    } else {
        Parked::Waiting
    })
}

fn wait(row: &Row) -> Result<Wait, tokio_postgres::Error> {
    Ok(Wait {
        kind: text(row, 0)?,
        wakes_at: row.try_get::<_, Option<Time>>(1)?.map(|time| time.0),
        details: row.try_get(2)?,
    })
}

async fn wake(session: &mut Session, id: JobId, wake_up: WakeUp) -> Result<Woken, Failure> {
    let transaction = session.transaction().await?;
    let Some(from) = lock(&transaction, id).await? else {
        return Ok(Woken::Ended(ended(&transaction, id).await?));
    };
    let key = storable(&wake_up.key);
    let rows = transaction
        .query(
            "SELECT count(*), count(*) FILTER (WHERE key = $2) > 0 FROM flowmill.wake_ups WHERE job = $1",
            &[(&id, Type::UUID), (&key, Type::TEXT)],
        )
        .await?;
    let row = rows.first().ok_or(Failure::Conflict)?;
    if row.try_get(1)? {
        return Ok(Woken::Known);
    }
    if row.try_get::<_, i64>(0)? >= signed(MAX_WAKE_UPS) {
        return Err(Error::TooManyWakeUps(id).into());
    }
    transaction
        .execute(
            "INSERT INTO flowmill.wake_ups (job, key, payload, at, is_unseen)
             VALUES ($1, $2, $3, $4, true)",
            &[
                (&id, Type::UUID),
                (&key, Type::TEXT),
                (&wake_up.payload, Type::TEXT),
                (&Time(wake_up.at), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let woken = match from.after(Transition::Wake) {
        None => Woken::Kept,
        Some(to) => {
            transaction
                .execute(
                    "WITH woken AS (DELETE FROM flowmill.waits WHERE job = $1)
                     UPDATE flowmill.active SET status = $2 WHERE job = $1",
                    &[(&id, Type::UUID), (&to, Type::INT2)],
                )
                .await?;
            Woken::Queued
        }
    };
    transaction.commit().await?;
    Ok(woken)
}
