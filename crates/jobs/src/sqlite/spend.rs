//! What API keys have spent: a row per key and day.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::fault::Failure;
use super::tables::Tables;
use crate::allotment::{Amounts, Wish, nanoseconds};
use crate::id::ReplicaId;
use crate::spend::{Allotted, BatchNumber, Day, KeyDay, SpendStore, Spent};
use crate::store::Error;

const SUMS: &str =
    "requests, runs, model_calls, input_tokens, output_tokens, cost_nano_usd, day, key";

#[async_trait]
impl SpendStore for SqliteStore {
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error> {
        self.writer
            .write(move |tables| {
                let Some(day) = more.iter().map(|more| more.day).max() else {
                    return Ok(Vec::new());
                };
                let is_new = tables.is_new_batch(batch, day)?;
                tables.add(&more, is_new)
            })
            .await
    }

    async fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        now: Timestamp,
    ) -> Result<Allotted, Error> {
        self.writer
            .write(move |tables| tables.allot(batch, by, &more, &wishes, now))
            .await
    }

    async fn spent(&self, key: Option<&str>, since: Day) -> Result<Vec<KeyDay>, Error> {
        let key: Option<Arc<str>> = key.map(Arc::from);
        self.readers
            .read(move |connection| {
                connection
                    .prepare(&format!(
                        "SELECT {SUMS} FROM key_spending WHERE day >= ?1 AND (?2 IS NULL OR key = ?2)
                         ORDER BY day, key"
                    ))?
                    .query_map(params![since.0, key], key_day)?
                    .collect()
            })
            .await
    }

    async fn forget_spent(&self, before: Day) -> Result<(), Error> {
        self.writer
            .write(move |tables| {
                tables.execute("DELETE FROM key_spending WHERE day < ?1", [before.0])?;
                tables.execute("DELETE FROM spending_batches WHERE day < ?1", [before.0])?;
                Ok(())
            })
            .await
    }
}

impl Tables<'_> {
    /// Notes the number of a batch; false if it was noted before.
    fn is_new_batch(&self, batch: BatchNumber, day: Day) -> Result<bool, Failure> {
        let noted = self.execute(
            "INSERT INTO spending_batches (writer, number, day) VALUES (?1, ?2, ?3)
             ON CONFLICT (writer) DO UPDATE SET number = ?2, day = max(day, ?3) WHERE number < ?2",
            params![batch.writer, batch.number, day.0],
        )?;
        Ok(noted > 0)
    }

    fn add(&self, more: &[KeyDay], is_new: bool) -> Result<Vec<Spent>, Failure> {
        let spend = |more: &KeyDay| {
            let spent = if is_new { more.spent } else { Spent::default() };
            self.spend(more, spent)
        };
        more.iter().map(spend).collect()
    }

    /// What is set aside is not undone where the commit fails: the batch is repeated then, or the
    /// process ends.
    fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: &[KeyDay],
        wishes: &[Wish],
        now: Timestamp,
    ) -> Result<Allotted, Failure> {
        let today = Day::of(now);
        let last_day = more.iter().map(|more| more.day).max();
        let is_new = self.is_new_batch(batch, last_day.unwrap_or(today))?;
        let sums = self.add(more, is_new)?;
        let mut allotments = Vec::new();
        for wish in wishes {
            let spent = self.find(
                &format!("SELECT {SUMS} FROM key_spending WHERE day = ?1 AND key = ?2"),
                params![today.0, wish.key],
                key_day,
            )?;
            let spent = spent.map(|found| found.spent).unwrap_or_default();
            let amounts = Amounts::from(&spent);
            let replicas = self.holders.replicas();
            let is_alive = |replica| replicas.is_alive(replica);
            let mut all = self.holders.allotments();
            let allotment = all.allot(by, wish, amounts, is_new, nanoseconds(now), is_alive);
            allotments.push((spent, allotment));
        }
        Ok(Allotted {
            now,
            sums,
            allotments,
        })
    }

    fn spend(&self, KeyDay { key, day, .. }: &KeyDay, spent: Spent) -> Result<Spent, Failure> {
        let sum = self.find(
            &format!(
                "INSERT INTO key_spending ({SUMS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (day, key) DO UPDATE SET
                     requests = requests + ?1, runs = runs + ?2, model_calls = model_calls + ?3,
                     input_tokens = input_tokens + ?4, output_tokens = output_tokens + ?5,
                     cost_nano_usd = cost_nano_usd + ?6
                 RETURNING {SUMS}"
            ),
            params![
                spent.requests,
                spent.runs,
                spent.model_calls,
                spent.input_tokens,
                spent.output_tokens,
                spent.cost_nano_usd,
                day.0,
                key,
            ],
            key_day,
        )?;
        Ok(sum.expect("an upsert returns its row").spent)
    }
}

fn key_day(row: &Row<'_>) -> rusqlite::Result<KeyDay> {
    Ok(KeyDay {
        spent: Spent {
            requests: row.get(0)?,
            runs: row.get(1)?,
            model_calls: row.get(2)?,
            input_tokens: row.get(3)?,
            output_tokens: row.get(4)?,
            cost_nano_usd: row.get(5)?,
        },
        day: Day(row.get(6)?),
        key: row.get(7)?,
    })
}
