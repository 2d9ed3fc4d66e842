//! What one API key has spent and has in flight, under one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use engine::host::Host;
use engine::quota::{CallUsage, Quota, Refused};
use jobs::spend::{Day, KeyDay, Spent};
use jobs::store::OwnerLimits;
use tokio::sync::Notify;

use super::limit::{Exceeded, Limit, Limits, SOON, dollars, nano_usd};
use super::rate::{TokenBucket, Window};

/// The account of one API key.
#[derive(Debug)]
pub struct Account {
    key: Arc<str>,
    host: Arc<dyn Host>,
    ledger: Mutex<Ledger>,
    /// A call was settled: others may fit now.
    settled: Notify,
}

#[derive(Debug)]
struct Ledger {
    limits: Limits,
    bucket: TokenBucket,
    /// Runs in flight that are running.
    running: u64,
    /// Runs in flight that are waiting.
    waiting: u64,
    /// The day of the next three sums.
    day: Day,
    /// What the store had when it was last asked.
    stored: Spent,
    /// Sent to the store, which has not answered yet.
    sent: Spent,
    /// Not sent to the store yet.
    fresh: Spent,
    /// The same for earlier days.
    older: Vec<(Day, Spent)>,
    /// Reserved for calls that are under way, whatever the day.
    reserved: Amounts,
}

/// What the daily limits count.
#[derive(Debug, Clone, Copy, Default)]
struct Amounts {
    tokens: u64,
    nano_usd: u64,
}

impl Amounts {
    fn of(taken: &CallUsage) -> Self {
        Self {
            tokens: taken.tokens(),
            nano_usd: taken.cost_usd.map_or(0, nano_usd),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            nano_usd: self.nano_usd.saturating_add(other.nano_usd),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            nano_usd: self.nano_usd.saturating_sub(other.nano_usd),
        }
    }
}

/// The state of an account at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    pub(super) limits: Limits,
    pub(super) running: u64,
    pub(super) waiting: u64,
    pub(super) day: Day,
    pub(super) spent: Spent,
    pub(super) left_tokens: Option<u64>,
    pub(super) left_nano_usd: Option<u64>,
}

/// Whether a call may be made.
enum Decision {
    Reserved,
    /// It may fit once others are settled.
    Later,
    Never(Refused),
}

impl Account {
    pub(super) fn new(key: Arc<str>, host: Arc<dyn Host>, limits: Limits, today: Spent) -> Self {
        let ledger = Ledger {
            limits,
            bucket: TokenBucket::default(),
            running: 0,
            waiting: 0,
            day: Day::of(host.now()),
            stored: today,
            sent: Spent::default(),
            fresh: Spent::default(),
            older: Vec::new(),
            reserved: Amounts::default(),
        };
        Self {
            key,
            host,
            ledger: Mutex::new(ledger),
            settled: Notify::new(),
        }
    }

    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Takes effect at once, for what follows.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.ledger().limits = limits;
        self.settled.notify_waiters();
    }

    /// Counts a request. Returns how much of the limit is left, where there is one.
    pub fn request(&self) -> Result<Option<Window>, Exceeded> {
        let mut ledger = self.today();
        let window = match ledger.limits.requests_per_minute {
            None => None,
            Some(most) => {
                let taken = ledger.bucket.take(most, self.host.elapsed());
                Some(taken.map_err(|retry_after| Exceeded {
                    limit: Limit::Requests,
                    most: most.get().into(),
                    retry_after,
                    renews: None,
                })?)
            }
        };
        ledger.fresh.requests += 1;
        Ok(window)
    }

    /// Counts a run that is about to be accepted, and whether it is to wait, where the limits allow
    /// it.
    pub(super) fn let_in(&self, waits: bool) -> Result<(), Exceeded> {
        let mut ledger = self.today();
        ledger
            .room_for_run(waits)
            .map_err(|(limit, most)| self.exceeded(limit, most, ledger.day))?;
        ledger.count(waits);
        Ok(())
    }

    /// Refuses a run where what the key may spend today is used up.
    pub(super) fn check_day(&self) -> Result<(), Exceeded> {
        let ledger = self.today();
        ledger
            .is_left()
            .map_err(|(limit, most)| self.exceeded(limit, most, ledger.day))
    }

    /// What the store is to enforce where it counts the jobs of each key.
    pub(crate) fn owner_limits(&self) -> OwnerLimits {
        let limits = self.ledger().limits;
        OwnerLimits {
            max_running: limits.max_running.map(std::num::NonZero::get),
            max_queued: limits.max_queued,
        }
    }

    pub(super) fn slot_taken(&self, waits: bool) {
        self.ledger().count(waits);
    }

    pub(super) fn slot_freed(&self, waits: bool) {
        let mut ledger = self.ledger();
        let place = if waits {
            &mut ledger.waiting
        } else {
            &mut ledger.running
        };
        *place = place.saturating_sub(1);
    }

    /// A run was accepted.
    pub(crate) fn accepted(&self) {
        self.today().fresh.runs += 1;
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let ledger = self.today();
        let (spent, taken) = (ledger.spent(), ledger.sum().plus(ledger.reserved));
        Snapshot {
            limits: ledger.limits,
            running: ledger.running,
            waiting: ledger.waiting,
            day: ledger.day,
            spent,
            left_tokens: ledger
                .most()
                .0
                .map(|most| most.saturating_sub(taken.tokens)),
            left_nano_usd: ledger
                .most()
                .1
                .map(|most| most.saturating_sub(taken.nano_usd)),
        }
    }

    /// What the store does not have yet. The account must be told whether it was written.
    pub(super) fn take_unwritten(&self) -> Vec<KeyDay> {
        let mut ledger = self.today();
        let (day, fresh) = (ledger.day, std::mem::take(&mut ledger.fresh));
        ledger.sent += fresh;
        let older = std::mem::take(&mut ledger.older).into_iter();
        older
            .chain([(day, fresh)])
            .filter(|(_, spent)| *spent != Spent::default())
            .map(|(day, spent)| KeyDay {
                key: self.key.clone(),
                day,
                spent,
            })
            .collect()
    }

    /// The store has it, and this sum for the day.
    pub(super) fn was_written(&self, written: &KeyDay, sum: Spent) {
        let mut ledger = self.today();
        if ledger.day == written.day {
            ledger.stored = sum;
            ledger.sent = Spent::default();
        }
    }

    fn decide(&self, model: &str, most: &CallUsage) -> Decision {
        let mut ledger = self.today();
        let (tokens, nano_usd) = ledger.most();
        if nano_usd.is_some() && most.cost_usd.is_none() {
            return Decision::Never(Refused {
                reason: format!(
                    "the API key has a limit of US dollars per day, and the price of {model} is not known; give \
                     it one with --prices, or limit tokens instead"
                ),
                retryable: false,
            });
        }
        let (call, spent, reserved) = (Amounts::of(most), ledger.sum(), ledger.reserved);
        let sums = [
            ("tokens", tokens, spent.tokens, call.tokens, reserved.tokens),
            (
                "US dollars",
                nano_usd,
                spent.nano_usd,
                call.nano_usd,
                reserved.nano_usd,
            ),
        ];
        let mut has_to_wait = false;
        for (unit, limit, spent, call, reserved) in sums {
            let Some(limit) = limit else { continue };
            let sum = spent.saturating_add(call);
            if sum > limit {
                let show = |amount: u64| match unit {
                    "tokens" => amount.to_string(),
                    _ => dollars(amount).to_string(),
                };
                return Decision::Never(Refused {
                    reason: format!(
                        "its API key has used {} of {} {unit} per day, and this call may take {}; the limit resets at {}",
                        show(spent),
                        show(limit),
                        show(call),
                        ledger.day.next().begins()
                    ),
                    retryable: true,
                });
            }
            has_to_wait |= sum.saturating_add(reserved) > limit;
        }
        if has_to_wait {
            return Decision::Later;
        }
        ledger.reserved = reserved.plus(call);
        Decision::Reserved
    }

    fn exceeded(&self, limit: Limit, most: u64, today: Day) -> Exceeded {
        let renews = match limit {
            Limit::Tokens | Limit::Cost => Some(today.next()),
            Limit::Requests | Limit::Address | Limit::Running | Limit::Queued => None,
        };
        let until = renews.map(|day| day.begins().duration_since(self.host.now()));
        Exceeded {
            limit,
            most,
            retry_after: until.map_or(SOON, |until| until.try_into().unwrap_or(SOON)),
            renews,
        }
    }

    /// The ledger of today.
    fn today(&self) -> MutexGuard<'_, Ledger> {
        let today = Day::of(self.host.now());
        let mut ledger = self.ledger();
        // A clock that is set back does not undo what was spent.
        if today > ledger.day {
            ledger.turn_to(today);
        }
        ledger
    }

    /// The sums stay valid after a panic: each change is a few additions.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn turn_to(&mut self, today: Day) {
        let unwritten = std::mem::take(&mut self.fresh);
        if unwritten != Spent::default() {
            self.older.push((self.day, unwritten));
        }
        self.day = today;
        self.stored = Spent::default();
        self.sent = Spent::default();
    }

    fn spent(&self) -> Spent {
        let mut spent = self.stored;
        spent += self.sent;
        spent += self.fresh;
        spent
    }

    fn sum(&self) -> Amounts {
        let spent = self.spent();
        Amounts {
            tokens: spent.tokens(),
            nano_usd: spent.cost_nano_usd,
        }
    }

    /// The limits per day: tokens, and billionths of a dollar.
    fn most(&self) -> (Option<u64>, Option<u64>) {
        let tokens = self.limits.tokens_per_day.map(std::num::NonZero::get);
        (tokens, self.limits.cost_per_day_usd.map(nano_usd))
    }

    fn count(&mut self, waits: bool) {
        let place = if waits {
            &mut self.waiting
        } else {
            &mut self.running
        };
        *place += 1;
    }

    /// The daily limit that is used up, and what it allows.
    fn is_left(&self) -> Result<(), (Limit, u64)> {
        let (tokens, nano_usd) = self.most();
        let spent = self.sum();
        if let Some(most) = tokens.filter(|most| spent.tokens >= *most) {
            return Err((Limit::Tokens, most));
        }
        if let Some(most) = nano_usd.filter(|most| spent.nano_usd >= *most) {
            return Err((Limit::Cost, most / 1_000));
        }
        Ok(())
    }

    /// The limit that stands in the way, and what it allows.
    fn room_for_run(&self, waits: bool) -> Result<(), (Limit, u64)> {
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

#[async_trait]
impl Quota for Account {
    async fn reserve(&self, model: &str, most: &CallUsage) -> Result<(), Refused> {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            // From here on no settled call is missed.
            settled.as_mut().enable();
            match self.decide(model, most) {
                Decision::Reserved => return Ok(()),
                Decision::Never(refused) => return Err(refused),
                Decision::Later => settled.await,
            }
        }
    }

    fn settle(&self, reserved: &CallUsage, taken: &CallUsage) {
        let mut ledger = self.today();
        ledger.reserved = ledger.reserved.minus(Amounts::of(reserved));
        // An unknown cost counts as all that was reserved.
        let cost = taken.cost_usd.or(reserved.cost_usd);
        ledger.fresh += Spent {
            model_calls: 1,
            input_tokens: taken.input_tokens,
            output_tokens: taken.output_tokens,
            cost_nano_usd: cost.map_or(0, nano_usd),
            ..Spent::default()
        };
        drop(ledger);
        self.settled.notify_waiters();
    }

    fn give_back(&self, reserved: &CallUsage) {
        let mut ledger = self.ledger();
        ledger.reserved = ledger.reserved.minus(Amounts::of(reserved));
        drop(ledger);
        self.settled.notify_waiters();
    }
}
