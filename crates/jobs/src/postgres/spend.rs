//! What API keys have spent: a row per key and day.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::fault::Failure;
use super::sessions::{Param, Params, Session};
use super::values::{signed, text, unsigned};
use crate::allotment::Wish;
use crate::id::ReplicaId;
use crate::spend::{Allotted, BatchNumber, Day, KeyDay, SpendStore, Spent};
use crate::store::Error;

const SUMS: &str =
    "requests, runs, model_calls, input_tokens, output_tokens, cost_nano_usd, day, key";

/// `$1` and `$2`: the number of the batch; then columns as in [`SUMS`]. One statement: a batch that was
/// noted before adds nothing. Rows are changed in the order of key and day by everybody. Sums end at
/// the greatest number.
pub(super) const SPEND: &str = "
    WITH noted AS (
        INSERT INTO flowmill.spending_batches AS b (writer, number) VALUES ($1, $2)
        ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = now()
            WHERE b.number < excluded.number
        RETURNING 1),
    is_new (times) AS MATERIALIZED (SELECT count(*) FROM noted)
    INSERT INTO flowmill.key_spending AS s
        (requests, runs, model_calls, input_tokens, output_tokens, cost_nano_usd, day, key)
    SELECT m.requests * times, m.runs * times, m.model_calls * times, m.input_tokens * times,
        m.output_tokens * times, m.cost_nano_usd * times, m.day, m.key
    FROM unnest($3, $4, $5, $6, $7, $8, $9, $10) AS m
        (requests, runs, model_calls, input_tokens, output_tokens, cost_nano_usd, day, key), is_new
    ORDER BY m.day, m.key
    ON CONFLICT (day, key) DO UPDATE SET
        requests = least(s.requests::numeric + excluded.requests, 9223372036854775807),
        runs = least(s.runs::numeric + excluded.runs, 9223372036854775807),
        model_calls = least(s.model_calls::numeric + excluded.model_calls, 9223372036854775807),
        input_tokens = least(s.input_tokens::numeric + excluded.input_tokens, 9223372036854775807),
        output_tokens = least(s.output_tokens::numeric + excluded.output_tokens, 9223372036854775807),
        cost_nano_usd = least(s.cost_nano_usd::numeric + excluded.cost_nano_usd, 9223372036854775807)
    RETURNING requests, runs, model_calls, input_tokens, output_tokens, cost_nano_usd, day, key";

/// What is to be added, or the new sums, by day and key: each row is changed once.
pub(super) struct Spending(BTreeMap<(Day, Arc<str>), Spent>);

/// What [`SPEND`] takes.
pub(super) struct Columns<'a> {
    writer: ReplicaId,
    number: i64,
    sums: [Vec<i64>; 6],
    days: Vec<i64>,
    keys: Vec<&'a str>,
}

impl Spending {
    pub(super) fn of(more: &[KeyDay]) -> Self {
        let mut sums: BTreeMap<(Day, Arc<str>), Spent> = BTreeMap::new();
        for KeyDay { key, day, spent } in more {
            *sums.entry((*day, key.clone())).or_default() += *spent;
        }
        Self(sums)
    }

    pub(super) fn read(rows: &[Row]) -> Result<Self, tokio_postgres::Error> {
        let sum = |row| key_day(row).map(|sum| ((sum.day, sum.key), sum.spent));
        Ok(Self(rows.iter().map(sum).collect::<Result<_, _>>()?))
    }

    pub(super) fn columns(&self, batch: BatchNumber) -> Columns<'_> {
        let column = |of: fn(&Spent) -> u64| -> Vec<i64> {
            self.0.values().map(|spent| signed(of(spent))).collect()
        };
        Columns {
            writer: batch.writer,
            number: signed(batch.number),
            sums: [
                column(|spent| spent.requests),
                column(|spent| spent.runs),
                column(|spent| spent.model_calls),
                column(|spent| spent.input_tokens),
                column(|spent| spent.output_tokens),
                column(|spent| spent.cost_nano_usd),
            ],
            days: self.0.keys().map(|(day, _)| day.0).collect(),
            keys: self.0.keys().map(|(_, key)| &**key).collect(),
        }
    }

    /// The sum of that key on that day.
    pub(super) fn sum(&self, KeyDay { key, day, .. }: KeyDay) -> Spent {
        self.0.get(&(day, key)).copied().unwrap_or_default()
    }
}

impl Columns<'_> {
    pub(super) fn parameters(&self) -> [Param<'_>; 10] {
        let [
            requests,
            runs,
            model_calls,
            input_tokens,
            output_tokens,
            cost_nano_usd,
        ] = &self.sums;
        [
            (&self.writer, Type::UUID),
            (&self.number, Type::INT8),
            (requests, Type::INT8_ARRAY),
            (runs, Type::INT8_ARRAY),
            (model_calls, Type::INT8_ARRAY),
            (input_tokens, Type::INT8_ARRAY),
            (output_tokens, Type::INT8_ARRAY),
            (cost_nano_usd, Type::INT8_ARRAY),
            (&self.days, Type::INT8_ARRAY),
            (&self.keys, Type::TEXT_ARRAY),
        ]
    }
}

#[async_trait]
impl SpendStore for PostgresStore {
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error> {
        let spending = Arc::new(Spending::of(&more));
        let sums = self
            .sessions
            .run(move |session| {
                let spending = spending.clone();
                Box::pin(async move { spend(session, batch, &spending).await })
            })
            .await?;
        Ok(more.into_iter().map(|more| sums.sum(more)).collect())
    }

    async fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        now: Timestamp,
    ) -> Result<Allotted, Error> {
        self.allot(batch, by, more, wishes, now).await
    }

    async fn spent(&self, key: Option<&str>, since: Day) -> Result<Vec<KeyDay>, Error> {
        let key: Option<String> = key.map(str::to_owned);
        self.sessions
            .run(move |session| {
                let key = key.clone();
                Box::pin(async move {
                    let sql = format!(
                        "SELECT {SUMS} FROM flowmill.key_spending
                         WHERE day >= $1 AND ($2 IS NULL OR key = $2) ORDER BY day, key"
                    );
                    let parameters: Params<'_> = &[(&since.0, Type::INT8), (&key, Type::TEXT)];
                    let rows = session.query(&sql, parameters).await?;
                    Ok(rows.iter().map(key_day).collect::<Result<_, _>>()?)
                })
            })
            .await
    }

    async fn forget_spent(&self, before: Day) -> Result<(), Error> {
        self.sessions
            .run(move |session| {
                Box::pin(async move {
                    session
                        .execute(
                            // A call is repeated within seconds.
                            "WITH old AS (
                                 DELETE FROM flowmill.spending_batches
                                 WHERE at < now() - interval '1 day')
                             DELETE FROM flowmill.key_spending WHERE day < $1",
                            &[(&before.0, Type::INT8)],
                        )
                        .await?;
                    Ok(())
                })
            })
            .await
    }
}

async fn spend(
    session: &mut Session,
    batch: BatchNumber,
    more: &Spending,
) -> Result<Spending, Failure> {
    let columns = more.columns(batch);
    let rows = session.query(SPEND, &columns.parameters()).await?;
    Ok(Spending::read(&rows)?)
}

fn key_day(row: &Row) -> Result<KeyDay, tokio_postgres::Error> {
    let number = |column| row.try_get(column).map(unsigned);
    Ok(KeyDay {
        spent: Spent {
            requests: number(0)?,
            runs: number(1)?,
            model_calls: number(2)?,
            input_tokens: number(3)?,
            output_tokens: number(4)?,
            cost_nano_usd: number(5)?,
        },
        day: Day(row.try_get(6)?),
        key: text(row, 7)?,
    })
}
