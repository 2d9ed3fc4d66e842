//! What one API key has spent and has in flight, as figures. Whoever changes them holds the account.

use std::time::Duration;

use jobs::allotment::{Amounts, DailyLimits};
use jobs::spend::{Day, Spent};

use super::limit::{Limit, Limits, nano_usd};
use super::rate::TokenBucket;
use super::share::Share;

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) limits: Limits,
    pub(super) bucket: TokenBucket,
    /// Runs in flight that are running.
    pub(super) running: u64,
    /// Runs in flight that are waiting.
    pub(super) waiting: u64,
    /// The day of the next three sums.
    pub(super) day: Day,
    /// What the store had when it was last asked.
    pub(super) stored: Spent,
    /// Sent to the store, which has not answered yet.
    pub(super) sent: Spent,
    /// Not sent to the store yet.
    pub(super) fresh: Spent,
    /// The same for earlier days.
    pub(super) older: Vec<(Day, Spent)>,
    /// Reserved for calls that are under way, whatever the day.
    pub(super) reserved: Amounts,
    /// Where the store is shared: what this process has of the limits.
    pub(super) share: Option<Box<Share>>,
}

impl Ledger {
    pub(super) fn new(limits: Limits, day: Day, stored: Spent, share: Option<Share>) -> Self {
        Self {
            limits,
            bucket: TokenBucket::default(),
            running: 0,
            waiting: 0,
            day,
            stored,
            sent: Spent::default(),
            fresh: Spent::default(),
            older: Vec::new(),
            reserved: Amounts::default(),
            share: share.map(Box::new),
        }
    }

    pub(super) fn turn_to(&mut self, today: Day) {
        let unwritten = std::mem::take(&mut self.fresh);
        if unwritten != Spent::default() {
            self.older.push((self.day, unwritten));
        }
        self.day = today;
        self.stored = Spent::default();
        self.sent = Spent::default();
    }

    pub(super) fn spent(&self) -> Spent {
        let mut spent = self.stored;
        spent += self.sent;
        spent += self.fresh;
        spent
    }

    pub(super) fn sum(&self) -> Amounts {
        Amounts::from(&self.spent())
    }

    pub(super) fn daily(&self) -> DailyLimits {
        DailyLimits {
            tokens: self.limits.tokens_per_day.map(std::num::NonZero::get),
            nano_usd: self.limits.cost_per_day_usd.map(nano_usd),
        }
    }

    /// Whether it is known what other replicas have spent since then, as far as it matters.
    pub(super) fn knows_sum_since(&self, since: Duration) -> bool {
        let share = self.share.as_deref().filter(|_| self.daily().is_some());
        share.is_none_or(|share| share.is_known_since(since))
    }

    pub(super) fn count(&mut self, waits: bool) {
        let place = if waits {
            &mut self.waiting
        } else {
            &mut self.running
        };
        *place += 1;
    }

    /// The daily limit that is used up, and what it allows.
    pub(super) fn is_left(&self) -> Result<(), (Limit, u64)> {
        let (daily, spent) = (self.daily(), self.sum());
        if let Some(most) = daily.tokens.filter(|most| spent.tokens >= *most) {
            return Err((Limit::Tokens, most));
        }
        match daily.nano_usd.filter(|most| spent.nano_usd >= *most) {
            Some(most) => Err((Limit::Cost, most / 1_000)),
            None => Ok(()),
        }
    }

    /// The limit that stands in the way, and what it allows.
    pub(super) fn room_for_run(&self, waits: bool) -> Result<(), (Limit, u64)> {
        self.is_left()?;
        let in_flight = self.running + self.waiting;
        let running = self.limits.max_running.map(|most| u64::from(most.get()));
        if let Some(most) = running.filter(|most| in_flight >= *most) {
            return Err((Limit::Running, most));
        }
        let queued = self.limits.max_queued.map(u64::from).filter(|_| waits);
        match queued.filter(|most| self.waiting >= *most) {
            Some(most) => Err((Limit::Queued, most)),
            None => Ok(()),
        }
    }
}
