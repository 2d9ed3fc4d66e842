//! What replicas have set aside of the limits of API keys: a row per key and replica. Whoever changes
//! one holds the lock of its key, so that the sum of all rows and of what was spent stays true.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::fault::Failure;
use super::sessions::{Params, Session, Transaction};
use super::spend::{SPEND, Spending};
use super::values::{Time, signed, unsigned};
use crate::allotment::{
    Allotment, Amounts, RequestWindow, Wish, grant, nanoseconds, take_requests,
};
use crate::id::ReplicaId;
use crate::spend::{Allotted, BatchNumber, KeyDay, Spent};
use crate::store::Error;

/// Until the end of the transaction, nobody else can change what is set aside for these keys.
const LOCK_KEYS: &str = "
    SELECT pg_advisory_xact_lock(1718382456, hash)
    FROM (SELECT DISTINCT hashtext(key) AS hash FROM unnest($1::text[]) key ORDER BY hash) k";

/// The time, whether the replica is alive, and the number of the writer's last batch.
const STAND: &str = "
    SELECT coalesce($1, now()),
        EXISTS (SELECT FROM flowmill.replicas WHERE id = $2 AND NOT is_dead),
        (SELECT number FROM flowmill.spending_batches WHERE writer = $3)";

/// What was spent on each key today, what others and the replica itself have set aside, and when the
/// bucket of requests will be full.
const READ: &str = "
    SELECT s.requests, s.runs, s.model_calls, s.input_tokens, s.output_tokens, s.cost_nano_usd,
        least(coalesce(o.tokens, 0), 9223372036854775807)::bigint,
        least(coalesce(o.nano_usd, 0), 9223372036854775807)::bigint,
        m.tokens, m.nano_usd, m.requests, r.full_at
    FROM unnest($1::text[]) WITH ORDINALITY AS n (key, nth)
    LEFT JOIN flowmill.key_spending s ON s.key = n.key
        AND s.day = floor(extract(epoch FROM coalesce($3, now())) / 86400)::bigint
    LEFT JOIN LATERAL (
        SELECT sum(a.tokens) AS tokens, sum(a.nano_usd) AS nano_usd
        FROM flowmill.allotments a
        JOIN flowmill.replicas p ON p.id = a.replica AND NOT p.is_dead
        WHERE a.key = n.key AND a.replica <> $2
    ) o ON true
    LEFT JOIN flowmill.allotments m ON m.key = n.key AND m.replica = $2
    LEFT JOIN flowmill.request_buckets r ON r.key = n.key
    ORDER BY n.nth";

/// The rows of the replica, without those that say nothing; and none of dead replicas.
const WRITE: &str = "
    WITH n AS (
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
            AS n (key, tokens, nano_usd, requests)
    ), idle AS (
        DELETE FROM flowmill.allotments a USING n
        WHERE a.key = n.key AND (
            CASE WHEN a.replica = $5 THEN n.tokens = 0 AND n.nano_usd = 0 AND n.requests = 0
            ELSE NOT EXISTS (
                SELECT FROM flowmill.replicas p WHERE p.id = a.replica AND NOT p.is_dead) END)
    )
    INSERT INTO flowmill.allotments (key, replica, tokens, nano_usd, requests)
    SELECT key, $5, tokens, nano_usd, requests FROM n
    WHERE tokens > 0 OR nano_usd > 0 OR requests > 0
    ON CONFLICT (key, replica) DO UPDATE SET
        tokens = excluded.tokens, nano_usd = excluded.nano_usd, requests = excluded.requests";

const FILL: &str = "
    INSERT INTO flowmill.request_buckets (key, full_at)
    SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (key) DO UPDATE SET full_at = excluded.full_at";

/// One call, which may be made several times.
struct Call {
    batch: BatchNumber,
    by: ReplicaId,
    spending: Spending,
    wishes: Vec<Wish>,
    now: Timestamp,
}

impl PostgresStore {
    pub(super) async fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        now: Timestamp,
    ) -> Result<Allotted, Error> {
        let call = Arc::new(Call {
            batch,
            by,
            spending: Spending::of(&more),
            wishes,
            now,
        });
        let (at, sums, allotments) = self
            .sessions
            .run(move |session| {
                let call = call.clone();
                Box::pin(async move { allot(session, &call).await })
            })
            .await?;
        Ok(Allotted {
            now: at,
            sums: more.into_iter().map(|more| sums.sum(more)).collect(),
            allotments,
        })
    }
}

type Answer = (Timestamp, Spending, Vec<(Spent, Allotment)>);

/// Two trips: what is there is read once everything is locked and the spending is added.
async fn allot(session: &mut Session, call: &Call) -> Result<Answer, Failure> {
    let transaction = session.begin();
    let at = transaction.now(call.now).map(Time);
    let keys: Vec<&str> = call.wishes.iter().map(|wish| &*wish.key).collect();
    let spending = call.spending.columns(call.batch);
    let read: Params<'_> = &[
        (&keys, Type::TEXT_ARRAY),
        (&call.by, Type::UUID),
        (&at, Type::TIMESTAMPTZ),
    ];
    let standing: Params<'_> = &[
        (&at, Type::TIMESTAMPTZ),
        (&call.by, Type::UUID),
        (&call.batch.writer, Type::UUID),
    ];
    let spending = spending.parameters();
    // In this order.
    let (begun, locked, stands, sums, found) = futures_util::join!(
        transaction.begun(),
        transaction.query(LOCK_KEYS, &read[..1]),
        transaction.query(STAND, standing),
        transaction.query(SPEND, &spending),
        transaction.query(READ, read),
    );
    begun?;
    locked?;
    let stands = stands?;
    let stands = stands.first().ok_or(Failure::Conflict)?;
    let now = stands.try_get::<_, Time>(0)?.0;
    let is_alive: bool = stands.try_get(1)?;
    let last: Option<i64> = stands.try_get(2)?;
    let is_new = last.is_none_or(|last| unsigned(last) < call.batch.number);
    let sums = Spending::read(&sums?)?;
    let mut found: Vec<Found> = found?.iter().map(found_of).collect::<Result<_, _>>()?;
    let mut allotments = Vec::new();
    for (wish, found) in call.wishes.iter().zip(&mut found) {
        if is_new {
            found.requests = 0;
            found.held = if is_alive {
                grant(wish, Amounts::from(&found.spent), found.others)
            } else {
                Amounts::default()
            };
        }
        let mut window = RequestWindow::default();
        if let Some(requests) = wish.requests {
            let requests = if is_new { requests } else { requests.looking() };
            let granted;
            (granted, window) = take_requests(&mut found.full_at, requests, nanoseconds(now));
            found.requests += granted;
        }
        let allotment = Allotment {
            held: found.held,
            others: found.others,
            requests: found.requests,
            window,
        };
        allotments.push((found.spent, allotment));
    }
    if is_new && !found.is_empty() {
        let (written, committed) = join(
            write(&transaction, call, &keys, &found),
            transaction.committed(),
        )
        .await;
        written?;
        committed?;
        transaction.ended();
    } else {
        transaction.commit().await?;
    }
    Ok((now, sums, allotments))
}

/// What was found of one key, and is written back.
struct Found {
    spent: Spent,
    others: Amounts,
    held: Amounts,
    requests: u32,
    full_at: i64,
}

fn found_of(row: &Row) -> Result<Found, tokio_postgres::Error> {
    let number = |column| {
        let number: Option<i64> = row.try_get(column)?;
        Ok::<_, tokio_postgres::Error>(number.map(unsigned).unwrap_or_default())
    };
    Ok(Found {
        spent: Spent {
            requests: number(0)?,
            runs: number(1)?,
            model_calls: number(2)?,
            input_tokens: number(3)?,
            output_tokens: number(4)?,
            cost_nano_usd: number(5)?,
        },
        others: Amounts {
            tokens: number(6)?,
            nano_usd: number(7)?,
        },
        held: Amounts {
            tokens: number(8)?,
            nano_usd: number(9)?,
        },
        requests: u32::try_from(number(10)?).unwrap_or(u32::MAX),
        full_at: row.try_get::<_, Option<i64>>(11)?.unwrap_or_default(),
    })
}

async fn write(
    transaction: &Transaction<'_>,
    call: &Call,
    keys: &[&str],
    found: &[Found],
) -> Result<(), Failure> {
    let column = |of: fn(&Found) -> u64| -> Vec<i64> {
        found.iter().map(|found| signed(of(found))).collect()
    };
    let tokens = column(|found| found.held.tokens);
    let nano_usd = column(|found| found.held.nano_usd);
    let requests = column(|found| found.requests.into());
    let rows: Params<'_> = &[
        (&keys, Type::TEXT_ARRAY),
        (&tokens, Type::INT8_ARRAY),
        (&nano_usd, Type::INT8_ARRAY),
        (&requests, Type::INT8_ARRAY),
        (&call.by, Type::UUID),
    ];
    let counted: BTreeMap<&str, i64> = call
        .wishes
        .iter()
        .zip(found)
        .filter(|(wish, _)| wish.requests.is_some())
        .map(|(wish, found)| (&*wish.key, found.full_at))
        .collect();
    let written = transaction.execute(WRITE, rows);
    if counted.is_empty() {
        written.await?;
        return Ok(());
    }
    let buckets: Vec<&str> = counted.keys().copied().collect();
    let full_at: Vec<i64> = counted.values().copied().collect();
    let filling: Params<'_> = &[(&buckets, Type::TEXT_ARRAY), (&full_at, Type::INT8_ARRAY)];
    let (written, filled) = join(written, transaction.execute(FILL, filling)).await;
    written?;
    filled?;
    Ok(())
}
