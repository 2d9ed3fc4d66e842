//! What API keys have spent: a row per key and day.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::fault::Failure;
use super::sessions::{Params, Session};
use super::values::{signed, text, unsigned};
use crate::spend::{BatchNumber, Day, KeyDay, SpendStore, Spent};
use crate::store::Error;

const SUMS: &str =
    "requests, runs, model_calls, input_tokens, output_tokens, cost_nano_usd, day, key";

/// `$1` and `$2`: the number of the batch; then columns as in [`SUMS`]. One statement: a batch that was
/// noted before adds nothing. Rows are changed in the order of key and day by everybody. Sums end at
/// the greatest number.
const SPEND: &str = "
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

#[async_trait]
impl SpendStore for PostgresStore {
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error> {
        // Each row is changed once.
        let mut sums: BTreeMap<(Day, Arc<str>), Spent> = BTreeMap::new();
        for KeyDay { key, day, spent } in &more {
            *sums.entry((*day, key.clone())).or_default() += *spent;
        }
        let sums = Arc::new(sums);
        let sums = self
            .sessions
            .run(move |session| Box::pin(spend(session, batch, sums.clone())))
            .await?;
        let of = |KeyDay { key, day, .. }| sums.get(&(day, key)).copied().unwrap_or_default();
        Ok(more.into_iter().map(of).collect())
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
    more: Arc<BTreeMap<(Day, Arc<str>), Spent>>,
) -> Result<BTreeMap<(Day, Arc<str>), Spent>, Failure> {
    let column = |of: fn(&Spent) -> u64| -> Vec<i64> {
        more.values().map(|spent| signed(of(spent))).collect()
    };
    let days: Vec<_> = more.keys().map(|(day, _)| day.0).collect();
    let keys: Vec<_> = more.keys().map(|(_, key)| &**key).collect();
    let parameters: Params<'_> = &[
        (&batch.writer, Type::UUID),
        (&signed(batch.number), Type::INT8),
        (&column(|spent| spent.requests), Type::INT8_ARRAY),
        (&column(|spent| spent.runs), Type::INT8_ARRAY),
        (&column(|spent| spent.model_calls), Type::INT8_ARRAY),
        (&column(|spent| spent.input_tokens), Type::INT8_ARRAY),
        (&column(|spent| spent.output_tokens), Type::INT8_ARRAY),
        (&column(|spent| spent.cost_nano_usd), Type::INT8_ARRAY),
        (&days, Type::INT8_ARRAY),
        (&keys, Type::TEXT_ARRAY),
    ];
    let rows = session.query(SPEND, parameters).await?;
    let sum = |row| key_day(row).map(|sum| ((sum.day, sum.key), sum.spent));
    Ok(rows.iter().map(sum).collect::<Result<_, _>>()?)
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
