//! What API keys have spent, in memory.

use std::ops::Bound;
use std::sync::{Arc, MutexGuard};

use async_trait::async_trait;

use super::{MemoryStore, Sums};
use crate::spend::{BatchNumber, Day, KeyDay, SpendStore, Spent};
use crate::store::Error;

impl MemoryStore {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums
            .lock()
            .expect("nothing panics while it holds the sums")
    }
}

#[async_trait]
impl SpendStore for MemoryStore {
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error> {
        let mut sums = self.sums();
        let Some(day) = more.iter().map(|more| more.day).max() else {
            return Ok(Vec::new());
        };
        let (number, last_day) = sums.last_batches.entry(batch.writer).or_insert((0, day));
        let is_new = batch.number > *number;
        *number = batch.number.max(*number);
        *last_day = day.max(*last_day);
        let sums = &mut sums.by_day;
        for KeyDay { key, day, spent } in &more {
            let sum = sums.entry((*day, key.clone())).or_default();
            if is_new {
                *sum += *spent;
            }
        }
        let of = |entry: KeyDay| sums[&(entry.day, entry.key)];
        Ok(more.into_iter().map(of).collect())
    }

    async fn spent(&self, key: Option<&str>, since: Day) -> Result<Vec<KeyDay>, Error> {
        let from = (Bound::Included((since, Arc::from(""))), Bound::Unbounded);
        let sums = self.sums();
        let found = sums
            .by_day
            .range(from)
            .filter(|((_, of), _)| key.is_none_or(|key| **of == *key));
        Ok(found
            .map(|((day, key), spent)| KeyDay {
                key: key.clone(),
                day: *day,
                spent: *spent,
            })
            .collect())
    }

    async fn forget_spent(&self, before: Day) -> Result<(), Error> {
        let mut sums = self.sums();
        sums.by_day.retain(|(day, _), _| *day >= before);
        sums.last_batches.retain(|_, (_, day)| *day >= before);
        Ok(())
    }
}
