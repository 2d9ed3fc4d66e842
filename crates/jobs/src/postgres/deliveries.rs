//! Webhooks: claimed to be tried, settled. They become due in the transaction that ends their job.
//!
//! A claim is one statement. It looks at each host with unsettled deliveries once, by a jump from host
//! to host in the index, and takes as many of its due deliveries as the host has room for; those
//! beyond are not read, however many wait at a receiver that hangs. First it decides without locks how
//! many deliveries each host gives, the longest due first; then it locks that many at each host, past
//! those that another replica has locked, so that replicas that claim at once share none and none of
//! them goes away empty-handed. What is due at a host is found by comparing rows, as in `listing`.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::fault::Failure;
use super::sessions::{Params, Session};
use super::values::{Time, interval, signed, small, storable, unsigned, webhook};
use crate::job::JobId;
use crate::store::Error;
use crate::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};

/// Most deliveries that one claim takes.
const MOST: usize = 128;

impl PostgresStore {
    pub(super) async fn claim_deliveries(
        &self,
        capacity: &DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Error> {
        if capacity.total == 0 {
            return Ok(Vec::new());
        }
        let capacity = capacity.clone();
        let due = self.due_deliveries.clone();
        self.sessions
            .run(move |session| {
                let (capacity, due) = (capacity.clone(), due.clone());
                Box::pin(async move {
                    if due.finds_nothing(session, now).await? {
                        return Ok(Vec::new());
                    }
                    let claimed = claim(session, capacity, lease_for, now).await?;
                    due.learn(claimed.is_empty());
                    Ok(claimed)
                })
            })
            .await
    }

    pub(super) async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<(), Error> {
        let lease = lease.clone();
        self.sessions
            .run(move |session| Box::pin(settle(session, lease.clone(), settlement.clone(), now)))
            .await
    }

    pub(super) async fn webhook(&self, id: JobId) -> Result<Option<Webhook>, Error> {
        self.sessions
            .run(move |session| {
                Box::pin(async move {
                    let sql =
                        "SELECT shown, host, url, secret FROM flowmill.webhooks WHERE job = $1";
                    let rows = session.query(sql, &[(&id, Type::UUID)]).await?;
                    Ok(rows.first().map(|row| webhook(row, 0)).transpose()?)
                })
            })
            .await
    }
}

/// `$1`: now; `$2`: microseconds of the lease; `$3`: how many in all; `$4`: how many at a host; `$5` and
/// `$6`: hosts with deliveries in flight, and how many more each can take.
const CLAIM: &str = "
    WITH RECURSIVE host (name) AS (
        (SELECT h.host FROM flowmill.webhooks h
         WHERE h.due_at IS NOT NULL
             AND (SELECT w.due_at FROM flowmill.webhooks w
                  WHERE w.due_at IS NOT NULL ORDER BY w.due_at LIMIT 1) <= coalesce($1, now())
         ORDER BY h.host LIMIT 1)
        UNION ALL
        SELECT (SELECT h.host FROM flowmill.webhooks h
                WHERE h.due_at IS NOT NULL AND h.host > host.name ORDER BY h.host LIMIT 1)
        FROM host WHERE host.name IS NOT NULL),
    room AS (
        SELECT host.name AS host, least($3, coalesce(busy.room, $4)) AS room
        FROM host LEFT JOIN unnest($5, $6) AS busy (host, room) ON busy.host = host.name
        WHERE host.name IS NOT NULL),
    share AS MATERIALIZED (
        SELECT picked.host, count(*) AS most
        FROM (
            SELECT room.host, due.due_at FROM room CROSS JOIN LATERAL (
                SELECT h.due_at FROM flowmill.webhooks h
                WHERE (h.host, h.due_at) >= (room.host, '-infinity')
                    AND (h.host, h.due_at) <= (room.host, coalesce($1, now()))
                    AND h.due_at IS NOT NULL
                ORDER BY h.host, h.due_at LIMIT room.room) due
            ORDER BY due.due_at LIMIT $3) picked
        GROUP BY picked.host),
    picked AS MATERIALIZED (
        SELECT due.job, due.due_at FROM share CROSS JOIN LATERAL (
            SELECT h.job, h.due_at FROM flowmill.webhooks h
            WHERE (h.host, h.due_at) >= (share.host, '-infinity')
                AND (h.host, h.due_at) <= (share.host, coalesce($1, now()))
                AND h.due_at IS NOT NULL
            ORDER BY h.host, h.due_at LIMIT share.most FOR UPDATE SKIP LOCKED) due)
    UPDATE flowmill.webhooks h
    SET attempts = h.attempts + 1, token = h.token + 1, is_claimed = true,
        due_at = coalesce($1, now()) + $2 * interval '1 microsecond'
    FROM picked
    WHERE h.job = picked.job AND h.job = ANY (ARRAY (SELECT job FROM picked))
    RETURNING h.shown, h.host, h.url, h.secret, h.attempts, h.token, h.job,
        (SELECT j.completed_at FROM flowmill.jobs j WHERE j.id = h.job), picked.due_at";

async fn claim(
    session: &mut Session,
    capacity: DeliveryCapacity,
    lease_for: Duration,
    now: Timestamp,
) -> Result<Vec<ClaimedDelivery>, Failure> {
    let (hosts, rooms): (Vec<_>, Vec<_>) = capacity
        .in_flight
        .keys()
        .map(|host| (&**host, signed(capacity.left_for(host))))
        .unzip();
    let now = session.now(now).map(Time);
    let lease_us = interval(lease_for);
    let (total, per_host) = (signed(capacity.total.min(MOST)), signed(capacity.per_host));
    let parameters: Params<'_> = &[
        (&now, Type::TIMESTAMPTZ),
        (&lease_us, Type::INT8),
        (&total, Type::INT8),
        (&per_host, Type::INT8),
        (&hosts, Type::TEXT_ARRAY),
        (&rooms, Type::INT8_ARRAY),
    ];
    let rows = session.query(CLAIM, parameters).await?;
    let mut claimed = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
    claimed.sort_by_key(|(due_at, delivery)| (*due_at, delivery.lease.job));
    Ok(claimed.into_iter().map(|(_, delivery)| delivery).collect())
}

/// With the time at which it was due.
fn claimed(row: &Row) -> Result<(Timestamp, ClaimedDelivery), tokio_postgres::Error> {
    let delivery = ClaimedDelivery {
        webhook: webhook(row, 0)?,
        attempt: small(row.try_get(4)?),
        lease: DeliveryLease {
            token: unsigned(row.try_get(5)?),
            job: row.try_get(6)?,
        },
        ended_at: row.try_get::<_, Time>(7)?.0,
    };
    Ok((row.try_get::<_, Time>(8)?.0, delivery))
}

/// `$1`: the job; `$2`: the token; `$3`: the state; `$4`: after how many microseconds it is due again;
/// `$5`: why it failed; `$6`: whether it was handed back; `$7`: now. The job is locked before its webhook, as it is when it is deleted.
const SETTLE: &str = "
    WITH job AS MATERIALIZED (SELECT id FROM flowmill.jobs WHERE id = $1 FOR UPDATE),
    settled AS (
        UPDATE flowmill.webhooks h
        SET is_claimed = false, state = $3,
            due_at = coalesce($7, now()) + $4 * interval '1 microsecond',
            attempts = h.attempts - CASE WHEN $6 THEN 1 ELSE 0 END,
            last_error = CASE WHEN $6 THEN h.last_error ELSE $5 END
        FROM job WHERE h.job = job.id AND h.token = $2 AND h.is_claimed
        RETURNING h.job, h.due_at),
    told AS (
        UPDATE flowmill.jobs j SET owes_webhook = false
        FROM settled WHERE j.id = settled.job AND settled.due_at IS NULL)
    SELECT job FROM settled";

async fn settle(
    session: &mut Session,
    lease: DeliveryLease,
    settlement: Settlement,
    now: Timestamp,
) -> Result<(), Failure> {
    let (state, after, error) = settlement.parts();
    let after_us = after.map(interval);
    let now = session.now(now).map(Time);
    let token = signed(lease.token);
    let error = error.map(|error| storable(error));
    let is_handed_back = matches!(settlement, Settlement::HandedBack);
    let parameters: Params<'_> = &[
        (&lease.job, Type::UUID),
        (&token, Type::INT8),
        (&state, Type::INT2),
        (&after_us, Type::INT8),
        (&error, Type::TEXT),
        (&is_handed_back, Type::BOOL),
        (&now, Type::TIMESTAMPTZ),
    ];
    if session.query(SETTLE, parameters).await?.is_empty() {
        return Err(Error::LeaseLost(lease.job).into());
    }
    Ok(())
}
