//! What API keys have spent, in memory.

use std::ops::Bound;
use std::sync::{Arc, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Sums};
use crate::allotment::{Amounts, Wish, nanoseconds};
use crate::id::ReplicaId;
use crate::spend::{Allotted, BatchNumber, Day, KeyDay, SpendStore, Spent};
use crate::store::Error;

impl MemoryStore {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums
            .lock()
            .expect("nothing panics while it holds the sums")
    }
}

impl Sums {
    /// Notes the number of a batch; false if it was noted before.
    fn is_new(&mut self, batch: BatchNumber, day: Day) -> bool {
        let (number, last_day) = self.last_batches.entry(batch.writer).or_insert((0, day));
        let is_new = batch.number > *number;
        *number = batch.number.max(*number);
        *last_day = day.max(*last_day);
        is_new
    }

    fn add(&mut self, more: Vec<KeyDay>, is_new: bool) -> Vec<Spent> {
        for KeyDay { key, day, spent } in &more {
            let sum = self.by_day.entry((*day, key.clone())).or_default();
            if is_new {
                *sum += *spent;
            }
        }
        let of = |entry: KeyDay| self.by_day[&(entry.day, entry.key)];
        more.into_iter().map(of).collect()
    }
}

#[async_trait]
impl SpendStore for MemoryStore {
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error> {
        let mut sums = self.sums();
        let Some(day) = more.iter().map(|more| more.day).max() else {
            return Ok(Vec::new());
        };
        let is_new = sums.is_new(batch, day);
        Ok(sums.add(more, is_new))
    }

    async fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        now: Timestamp,
    ) -> Result<Allotted, Error> {
        let tables = self.tables();
        let is_alive = |replica| tables.replicas.is_alive(replica);
        let mut sums = self.sums();
        let today = Day::of(now);
        let last_day = more.iter().map(|more| more.day).max();
        let is_new = sums.is_new(batch, last_day.unwrap_or(today));
        let added = sums.add(more, is_new);
        let now_ns = nanoseconds(now);
        let Sums {
            by_day, allotments, ..
        } = &mut *sums;
        let allot = |wish: Wish| {
            let spent = by_day.get(&(today, wish.key.clone())).copied();
            let spent = spent.unwrap_or_default();
            let amounts = Amounts::from(&spent);
            let allotment = allotments.allot(by, &wish, amounts, is_new, now_ns, is_alive);
            (spent, allotment)
        };
        Ok(Allotted {
            now,
            sums: added,
            allotments: wishes.into_iter().map(allot).collect(),
        })
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
