//! Webhooks: due with the end of their job, claimed to be tried, settled.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::params;

use super::fault::Failure;
use super::tables::Tables;
use super::values::{Time, webhook};
use crate::job::JobId;
use crate::store::{Error, later};
use crate::webhook::{ClaimedDelivery, DeliveryLease, DeliveryState, Room, Settlement, Webhook};

impl Tables<'_> {
    pub(super) fn save_webhook(&self, seq: i64, webhook: &Webhook) -> rusqlite::Result<()> {
        let target = webhook.target.as_ref();
        self.execute(
            "INSERT INTO webhooks (job, shown, host, url, secret, state, attempts, token, claimed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0)",
            params![
                seq,
                webhook.shown,
                webhook.host,
                target.map(|target| target.url.reveal()),
                target.and_then(|target| Some(target.secret.as_ref()?.reveal())),
                DeliveryState::Waiting,
            ],
        )?;
        Ok(())
    }

    /// In the transaction that ends the job.
    pub(super) fn owe_delivery(&self, seq: i64, ended_at: Timestamp) -> rusqlite::Result<()> {
        self.execute(
            "UPDATE webhooks SET state = ?2, due_at = ?3 WHERE job = ?1",
            params![seq, DeliveryState::Pending, Time(ended_at)],
        )?;
        Ok(())
    }

    pub(super) fn claim_deliveries(
        &mut self,
        room: &Room,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Failure> {
        let lapses_at = later(now, lease_for);
        let claim = |seq: i64| {
            self.execute(
                "UPDATE webhooks SET attempts = attempts + 1, token = token + 1, claimed = 1, due_at = ?2
                 WHERE job = ?1",
                params![seq, Time(lapses_at)],
            )?;
            self.connection
                .prepare_cached(
                    "SELECT h.shown, h.host, h.url, h.secret, h.attempts, h.token, j.id, j.completed_at
                     FROM webhooks h JOIN jobs j ON j.seq = h.job WHERE h.job = ?1",
                )?
                .query_row([seq], |row| {
                    Ok(ClaimedDelivery {
                        webhook: webhook(row)?,
                        attempt: row.get(4)?,
                        lease: DeliveryLease {
                            token: row.get(5)?,
                            job: row.get(6)?,
                        },
                        ended_at: row.get::<_, Time>(7)?.0,
                    })
                })
        };
        let due = self.due_deliveries(room.clone(), now)?;
        Ok(due.into_iter().map(claim).collect::<Result<_, _>>()?)
    }

    /// The longest due first, passing over those of hosts that have no room.
    fn due_deliveries(&self, mut room: Room, now: Timestamp) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT job, host FROM webhooks INDEXED BY webhooks_by_time WHERE due_at <= ?1 ORDER BY due_at",
        )?;
        let mut rows = statement.query([Time(now)])?;
        let mut due = Vec::new();
        while room.total > 0
            && let Some(row) = rows.next()?
        {
            if room.take(row.get_ref(1)?.as_str()?) {
                due.push(row.get(0)?);
            }
        }
        Ok(due)
    }

    pub(super) fn settle_delivery(
        &mut self,
        lease: &DeliveryLease,
        settlement: &Settlement,
    ) -> Result<(), Failure> {
        let seq: i64 = self
            .find(
                "SELECT h.job FROM jobs j JOIN webhooks h ON h.job = j.seq
                 WHERE j.id = ?1 AND h.token = ?2 AND h.claimed = 1",
                params![lease.job, lease.token],
                |row| row.get(0),
            )?
            .ok_or(Failure::Refused(Error::LeaseLost(lease.job)))?;
        let (state, due_at, error) = settlement.parts();
        let due_at = due_at.map(Time);
        if matches!(settlement, Settlement::HandedBack { .. }) {
            self.execute(
                "UPDATE webhooks SET attempts = attempts - 1, claimed = 0, due_at = ?2 WHERE job = ?1",
                params![seq, due_at],
            )?;
        } else {
            self.execute(
                "UPDATE webhooks SET state = ?2, last_error = ?3, claimed = 0, due_at = ?4 WHERE job = ?1",
                params![seq, state, error, due_at],
            )?;
        }
        if state.is_settled() {
            self.execute("UPDATE jobs SET owes_webhook = NULL WHERE seq = ?1", [seq])?;
        }
        Ok(())
    }

    /// Those that somebody tries become due at once.
    pub(super) fn release_deliveries(&self) -> rusqlite::Result<()> {
        self.execute(
            "UPDATE webhooks INDEXED BY webhooks_by_time
             SET claimed = 0, due_at = (SELECT completed_at FROM jobs WHERE seq = job)
             WHERE due_at IS NOT NULL AND claimed = 1",
            [],
        )?;
        Ok(())
    }

    /// The ended job whose webhook would be tried last: its receiver has failed most.
    pub(super) fn least_promising_delivery(&self) -> rusqlite::Result<Option<JobId>> {
        self.find(
            "SELECT j.id FROM webhooks h INDEXED BY webhooks_by_time JOIN jobs j ON j.seq = h.job
             WHERE h.due_at IS NOT NULL ORDER BY h.due_at DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
    }
}
