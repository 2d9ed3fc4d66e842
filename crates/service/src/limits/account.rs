//! What one API key has spent and has in flight, under one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use engine::host::Host;
use engine::quota::{Quota, Refused, Taken};
use jobs::spend::{Day, KeyDay, Spent};
use tokio::sync::Notify;

use super::place::Place;
use super::rate::{FullAt, Window};
use super::{Exceeded, Limit, Limits, nano_usd};

/// After this long a run may have ended.
const SOON: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Account {
    key: Arc<str>,
    host: Arc<dyn Host>,
    book: Mutex<Book>,
    /// A call has settled: others may fit now.
    settled: Notify,
}

#[derive(Debug)]
struct Book {
    limits: Limits,
    bucket: FullAt,
    /// Runs in flight that run.
    running: u64,
    /// Runs in flight that wait.
    waiting: u64,
    /// What the three sums are of.
    day: Day,
    /// As the store had it last.
    stored: Spent,
    /// Given to the store, which has not answered yet.
    sent: Spent,
    /// Not given to it yet.
    fresh: Spent,
    /// The same of earlier days.
    older: Vec<(Day, Spent)>,
    /// Set aside for calls that are under way, whatever the day.
    reserved: Sum,
}

/// What a day's quotas are about.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    tokens: u64,
    nano_usd: u64,
}

impl Sum {
    fn of(taken: &Taken) -> Self {
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

/// An account as it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) limits: Limits,
    pub(super) running: u64,
    pub(super) waiting: u64,
    pub(super) day: Day,
    pub(super) spent: Spent,
    pub(super) left_tokens: Option<u64>,
    pub(super) left_nano_usd: Option<u64>,
}

/// What may be done with a call.
enum Verdict {
    Reserved,
    /// It may fit when others have settled.
    Later,
    Never(Refused),
}

impl Account {
    pub(super) fn new(key: Arc<str>, host: Arc<dyn Host>, limits: Limits, today: Spent) -> Self {
        let book = Book {
            limits,
            bucket: FullAt::default(),
            running: 0,
            waiting: 0,
            day: Day::of(host.now()),
            stored: today,
            sent: Spent::default(),
            fresh: Spent::default(),
            older: Vec::new(),
            reserved: Sum::default(),
        };
        Self {
            key,
            host,
            book: Mutex::new(book),
            settled: Notify::new(),
        }
    }

    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// From now on.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.book().limits = limits;
        self.settled.notify_waiters();
    }

    /// Counts a request. Says how the limit stands, where there is one.
    pub fn request(&self) -> Result<Option<Window>, Exceeded> {
        let mut book = self.today();
        let window = match book.limits.requests_per_minute {
            None => None,
            Some(most) => {
                let taken = book.bucket.take(most, self.host.elapsed());
                Some(taken.map_err(|retry_after| Exceeded {
                    limit: Limit::Requests,
                    most: most.get().into(),
                    retry_after,
                    renews: None,
                })?)
            }
        };
        book.fresh.requests += 1;
        Ok(window)
    }

    /// A place for a run that is about to be accepted, and whether it is to wait.
    pub(crate) fn enter(self: &Arc<Self>, waits: bool) -> Result<Place, Exceeded> {
        let mut book = self.today();
        book.room_for_run(waits)
            .map_err(|(limit, most)| self.exceeded(limit, most, book.day))?;
        book.count(waits);
        drop(book);
        Ok(Place::new(self.clone(), waits))
    }

    /// A place for a run that was accepted before.
    pub(crate) fn enter_again(self: &Arc<Self>, waits: bool) -> Place {
        self.take_place(waits);
        Place::new(self.clone(), waits)
    }

    pub(super) fn take_place(&self, waits: bool) {
        self.book().count(waits);
    }

    pub(super) fn leave(&self, waits: bool) {
        let mut book = self.book();
        let place = if waits {
            &mut book.waiting
        } else {
            &mut book.running
        };
        *place = place.saturating_sub(1);
    }

    /// A run was accepted.
    pub(crate) fn accepted(&self) {
        self.today().fresh.runs += 1;
    }

    pub(super) fn standing(&self) -> Standing {
        let book = self.today();
        let (spent, taken) = (book.spent(), book.sum().plus(book.reserved));
        Standing {
            limits: book.limits,
            running: book.running,
            waiting: book.waiting,
            day: book.day,
            spent,
            left_tokens: book.most().0.map(|most| most.saturating_sub(taken.tokens)),
            left_nano_usd: book
                .most()
                .1
                .map(|most| most.saturating_sub(taken.nano_usd)),
        }
    }

    /// What the store does not have yet; it has to be told what became of it.
    pub(super) fn take_unwritten(&self) -> Vec<KeyDay> {
        let mut book = self.today();
        let (day, fresh) = (book.day, std::mem::take(&mut book.fresh));
        book.sent += fresh;
        let older = std::mem::take(&mut book.older).into_iter();
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

    /// The store has it, and that sum of the day.
    pub(super) fn was_written(&self, written: &KeyDay, sum: Spent) {
        let mut book = self.today();
        if book.day == written.day {
            book.stored = sum;
            book.sent = Spent::default();
        }
    }

    /// The store does not have it.
    pub(super) fn was_not_written(&self, lost: &KeyDay) {
        let mut book = self.today();
        if book.day == lost.day {
            book.sent = Spent::default();
            book.fresh += lost.spent;
        } else {
            book.older.push((lost.day, lost.spent));
        }
    }

    fn verdict(&self, model: &str, most: &Taken) -> Verdict {
        let mut book = self.today();
        let (tokens, nano_usd) = book.most();
        if nano_usd.is_some() && most.cost_usd.is_none() {
            return Verdict::Never(Refused {
                reason: format!(
                    "the API key may spend so many US dollars a day, and the price of {model} is not known; give \
                     it one with --prices, or limit tokens instead"
                ),
                retryable: false,
            });
        }
        let (call, spent, reserved) = (Sum::of(most), book.sum(), book.reserved);
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
                    _ => super::dollars(amount).to_string(),
                };
                return Verdict::Never(Refused {
                    reason: format!(
                        "its API key has used {} of {} {unit} a day, and this call may take {}; they renew at {}",
                        show(spent),
                        show(limit),
                        show(call),
                        book.day.next().begins()
                    ),
                    retryable: true,
                });
            }
            has_to_wait |= sum.saturating_add(reserved) > limit;
        }
        if has_to_wait {
            return Verdict::Later;
        }
        book.reserved = reserved.plus(call);
        Verdict::Reserved
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

    /// The book, opened at the page of today.
    fn today(&self) -> MutexGuard<'_, Book> {
        let today = Day::of(self.host.now());
        let mut book = self.book();
        // A clock that is set back does not make what was spent undone.
        if today > book.day {
            book.turn_to(today);
        }
        book
    }

    /// Sums stay meaningful whoever panicked: each change is a few additions.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
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

    fn sum(&self) -> Sum {
        let spent = self.spent();
        Sum {
            tokens: spent.tokens(),
            nano_usd: spent.cost_nano_usd,
        }
    }

    /// Tokens and billionths of a dollar that may be spent today.
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

    /// The limit that stands in the way, and what it allows.
    fn room_for_run(&self, waits: bool) -> Result<(), (Limit, u64)> {
        let (tokens, nano_usd) = self.most();
        let spent = self.sum();
        if let Some(most) = tokens.filter(|most| spent.tokens >= *most) {
            return Err((Limit::Tokens, most));
        }
        if let Some(most) = nano_usd.filter(|most| spent.nano_usd >= *most) {
            return Err((Limit::Cost, most / 1_000));
        }
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
    async fn reserve(&self, model: &str, most: &Taken) -> Result<(), Refused> {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            // From here on nothing that settles is missed.
            settled.as_mut().enable();
            match self.verdict(model, most) {
                Verdict::Reserved => return Ok(()),
                Verdict::Never(refused) => return Err(refused),
                Verdict::Later => settled.await,
            }
        }
    }

    fn settle(&self, reserved: &Taken, taken: &Taken) {
        let mut book = self.today();
        book.reserved = book.reserved.minus(Sum::of(reserved));
        // An unknown amount is never taken for little.
        let cost = taken.cost_usd.or(reserved.cost_usd);
        book.fresh += Spent {
            model_calls: 1,
            input_tokens: taken.input_tokens,
            output_tokens: taken.output_tokens,
            cost_nano_usd: cost.map_or(0, nano_usd),
            ..Spent::default()
        };
        drop(book);
        self.settled.notify_waiters();
    }

    fn give_back(&self, reserved: &Taken) {
        let mut book = self.book();
        book.reserved = book.reserved.minus(Sum::of(reserved));
        drop(book);
        self.settled.notify_waiters();
    }
}
