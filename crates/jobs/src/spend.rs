//! What API keys have spent, by day, and what is set aside for them. Callers pass differences, so that
//! several processes can share a store.

use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;

use crate::allotment::{Allotment, Amounts, Wish};
use crate::id::ReplicaId;
use crate::store::Error;

const SECONDS: i64 = 24 * 60 * 60;

/// A day in UTC, as the number of days since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Day {
    /// The day of a moment.
    pub fn of(at: Timestamp) -> Self {
        Self(at.as_second().div_euclid(SECONDS))
    }

    /// When it begins, or the greatest timestamp if that is earlier.
    pub fn begins(self) -> Timestamp {
        Timestamp::from_second(self.0.saturating_mul(SECONDS)).unwrap_or(Timestamp::MAX)
    }

    /// The day that many days before.
    #[must_use]
    pub fn earlier(self, days: i64) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// The day after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// `2026-11-28`
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date: Date = jiff::tz::Offset::UTC.to_datetime(self.begins()).date();
        date.fmt(f)
    }
}

/// What was spent on something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// HTTP requests.
    pub requests: u64,
    /// Accepted runs.
    pub runs: u64,
    /// Model calls.
    pub model_calls: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// Billionths of a US dollar.
    pub cost_nano_usd: u64,
}

impl Spent {
    /// Prompt and answer tokens together.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, more: Self) {
        let Self {
            requests,
            runs,
            model_calls,
            input_tokens,
            output_tokens,
            cost_nano_usd,
        } = more;
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.requests, requests);
        add(&mut self.runs, runs);
        add(&mut self.model_calls, model_calls);
        add(&mut self.input_tokens, input_tokens);
        add(&mut self.output_tokens, output_tokens);
        add(&mut self.cost_nano_usd, cost_nano_usd);
    }
}

impl From<&Spent> for Amounts {
    fn from(spent: &Spent) -> Self {
        Self {
            tokens: spent.tokens(),
            nano_usd: spent.cost_nano_usd,
        }
    }
}

/// What one key spent on one day, or what is to be added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDay {
    /// The key's id.
    pub key: Arc<str>,
    /// The day.
    pub day: Day,
    /// What was spent.
    pub spent: Spent,
}

/// Which batch of differences it is: of those of one writer each has a number above the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchNumber {
    /// Whose batches are counted; fresh for each process.
    pub writer: ReplicaId,
    /// From 1.
    pub number: u64,
}

/// The answer to [`SpendStore::allot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allotted {
    /// The time by which the store judges: its day is the day of the limits.
    pub now: Timestamp,
    /// The new sums of what was spent, in the order of the call.
    pub sums: Vec<Spent>,
    /// For each wish, in the same order: what all replicas together have spent on it today, and what
    /// this one has.
    pub allotments: Vec<(Spent, Allotment)>,
}

/// A store's sums. Each verb is atomic. Sums are as durable as the jobs of the same store.
#[async_trait]
pub trait SpendStore: Send + Sync + fmt::Debug {
    /// Adds, and returns the new sums of the same keys and days in the same order. A batch whose
    /// number is not above the last one of its writer was added before, by a call whose answer was
    /// lost; it adds nothing.
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error>;

    /// Adds as [`spend`](Self::spend) does, and sets what a replica has set aside of the limits of these
    /// keys, each key at most once, in the same step: what is spent moves from there to the sums. See
    /// [`allotment`](crate::allotment) for what is granted. A replica that is not alive has nothing set
    /// aside. Repeated, it answers as before.
    async fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        now: Timestamp,
    ) -> Result<Allotted, Error>;

    /// The sums from that day on, the oldest first, of one key or of all keys.
    async fn spent(&self, key: Option<&str>, since: Day) -> Result<Vec<KeyDay>, Error>;

    /// Forgets the sums of the days before that one.
    async fn forget_spent(&self, before: Day) -> Result<(), Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_that_of_utc() {
        let check = |at: &str, day: &str| {
            let day_of = Day::of(at.parse().unwrap());
            assert_eq!(day_of.to_string(), day, "{at}");
            assert_eq!(day_of.next().earlier(1), day_of);
        };
        check("2026-11-28T23:59:59.999Z", "2026-11-28");
        check("2026-11-29T00:00:00Z", "2026-11-29");
        check("2026-11-29T00:30:00+01:00", "2026-11-28");
        check("1969-12-31T23:59:59Z", "1969-12-31");
        assert_eq!(Day(0).next().begins().to_string(), "1970-01-02T00:00:00Z");
        assert_eq!(Day(i64::MAX).next().begins(), Timestamp::MAX);
    }
}
