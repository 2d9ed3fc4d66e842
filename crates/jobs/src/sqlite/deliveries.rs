//! Webhooks: due with the end of their job, claimed to be tried, settled.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::params;

use super::fault::{Failure, is_unreadable};
use super::removal::ended;
use super::tables::Tables;
use super::values::{Time, limit, webhook};
use crate::job::Status;
use crate::store::{Error, later};
use crate::webhook::{
    ClaimedDelivery, DeliveryCapacity, DeliveryLease, DeliveryState, Settlement, Webhook,
};

const DUE_HOSTS: &str = "SELECT host FROM webhook_hosts INDEXED BY webhook_hosts_by_time
    WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2";

const DUE_AT_HOST: &str = "SELECT due_at, job FROM webhooks INDEXED BY webhooks_by_host
    WHERE host = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT ?3";

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

    /// Makes the delivery due, in the transaction that ends the job.
    pub(super) fn make_delivery_due(&self, seq: i64, ended_at: Timestamp) -> rusqlite::Result<()> {
        self.execute(
            "UPDATE webhooks SET state = ?2, due_at = ?3 WHERE job = ?1",
            params![seq, DeliveryState::Pending, Time(ended_at)],
        )?;
        Ok(())
    }

    pub(super) fn claim_deliveries(
        &mut self,
        capacity: &DeliveryCapacity,
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
        let mut claimed = Vec::new();
        for seq in self.due_deliveries(capacity.clone(), now)? {
            match claim(seq) {
                Ok(delivery) => claimed.push(delivery),
                Err(error)
                    if is_unreadable(&error)
                        || matches!(error, rusqlite::Error::QueryReturnedNoRows) =>
                {
                    self.give_up_unreadable(seq, &error)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(claimed)
    }

    /// Settles a delivery whose record cannot be read, so that it does not block the others.
    fn give_up_unreadable(&self, seq: i64, error: &rusqlite::Error) -> rusqlite::Result<()> {
        tracing::error!(row = seq, %error, "the record of a webhook cannot be read; its delivery is given up");
        self.execute(
            "UPDATE webhooks SET state = ?2, last_error = ?3, claimed = 0, due_at = NULL WHERE job = ?1",
            params![
                seq,
                DeliveryState::GivenUp,
                "its record in the store cannot be read"
            ],
        )?;
        self.execute("UPDATE jobs SET owes_webhook = NULL WHERE seq = ?1", [seq])?;
        Ok(())
    }

    /// Due deliveries to hosts that can take more, the longest due first. Deliveries to other hosts
    /// are not read, however many they are.
    fn due_deliveries(
        &self,
        mut capacity: DeliveryCapacity,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<i64>> {
        let most = capacity.total;
        // Every delivery to be taken is one of a host among the first so many: each of them has one
        // that has been due for longer than those of the next.
        let hosts: Vec<String> = self.collect(
            DUE_HOSTS,
            params![
                Time(now),
                limit(most.saturating_add(capacity.in_flight.len()))
            ],
            |row| row.get(0),
        )?;
        let mut due: Vec<(i64, i64, &str)> = Vec::new();
        for host in &hosts {
            due.extend(self.collect(
                DUE_AT_HOST,
                params![host, Time(now), limit(capacity.left_for(host).min(most))],
                |row| Ok((row.get(0)?, row.get(1)?, &**host)),
            )?);
        }
        due.sort_unstable();
        due.retain(|(_, _, host)| capacity.total > 0 && capacity.take(host));
        Ok(due.into_iter().map(|(_, seq, _)| seq).collect())
    }

    pub(super) fn settle_delivery(
        &mut self,
        lease: &DeliveryLease,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let seq: i64 = self
            .find(
                "SELECT h.job FROM jobs j JOIN webhooks h ON h.job = j.seq
                 WHERE j.id = ?1 AND h.token = ?2 AND h.claimed = 1",
                params![lease.job, lease.token],
                |row| row.get(0),
            )?
            .ok_or(Failure::Refused(Error::LeaseLost(lease.job)))?;
        let (state, after, error) = settlement.parts();
        let due_at = after.map(|after| Time(later(now, after)));
        if matches!(settlement, Settlement::HandedBack) {
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

    /// Makes deliveries due that are being tried.
    pub(super) fn release_deliveries(&self) -> rusqlite::Result<()> {
        self.execute(
            "UPDATE webhooks INDEXED BY webhooks_by_time
             SET claimed = 0, due_at = (SELECT completed_at FROM jobs WHERE seq = job)
             WHERE due_at IS NOT NULL AND claimed = 1",
            [],
        )?;
        Ok(())
    }

    /// The ended job whose webhook would be tried last: its receiver has failed most often.
    pub(super) fn least_promising_delivery(&self) -> rusqlite::Result<Option<(i64, Status)>> {
        self.find(
            "SELECT j.seq, j.status FROM webhooks h INDEXED BY webhooks_by_time JOIN jobs j ON j.seq = h.job
             WHERE h.due_at IS NOT NULL ORDER BY h.due_at DESC LIMIT 1",
            [],
            ended,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::AtomicU64;

    use jiff::Timestamp;
    use rusqlite::{Connection, StatementStatus};

    use super::super::holders::Holders;
    use super::{DUE_AT_HOST, DUE_HOSTS, Tables};
    use crate::sqlite::open::migrate;
    use crate::store::Counts;
    use crate::webhook::DeliveryCapacity;

    /// Steps of SQLite's virtual machine that it takes to find the one delivery that can be
    /// claimed.
    fn steps_beside(black_holed: i64) -> i32 {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection
            .pragma_update(None, "foreign_keys", false)
            .unwrap();
        let waiting = (1..=black_holed).map(|seq| (seq, "black.hole"));
        for (seq, host) in waiting.chain([(black_holed + 1, "well")]) {
            connection
                .execute(
                    "INSERT INTO webhooks (job, shown, host, state, attempts, token, claimed)
                     VALUES (?1, '', ?2, 1, 0, 0, 0)",
                    rusqlite::params![seq, host],
                )
                .unwrap();
            connection
                .execute("UPDATE webhooks SET due_at = ?1 WHERE job = ?1", [seq])
                .unwrap();
        }
        let tables = Tables {
            connection: &connection,
            counts: Counts::default(),
            new_jobs: HashMap::new(),
            id_skew_ms: &AtomicU64::new(0),
            holders: &Holders::default(),
            log_bytes: 0,
        };
        let capacity = DeliveryCapacity {
            total: 112,
            per_host: 16,
            in_flight: [("black.hole".into(), 16)].into(),
        };
        let due = tables.due_deliveries(capacity, Timestamp::MAX).unwrap();
        assert_eq!(due, [black_holed + 1]);
        [DUE_HOSTS, DUE_AT_HOST]
            .map(|sql| {
                let statement = connection.prepare_cached(sql).unwrap();
                statement.get_status(StatementStatus::VmStep)
            })
            .into_iter()
            .sum()
    }

    #[test]
    fn what_waits_at_a_black_holed_receiver_is_not_walked_at_every_claim() {
        assert_eq!(steps_beside(2_000), steps_beside(100));
    }
}
