//! What one API key has spent and has in flight, under one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::host::Host;
use jobs::allotment::{Allotment, Amounts, Wish};
use jobs::spend::{Day, KeyDay, Spent};
use jobs::store::{OwnerLimits, ReplicaId};
use tokio::sync::Notify;

use super::clock::LimitClock;
use super::demand::Demand;
use super::ledger::Ledger;
use super::limit::{Exceeded, Limit, Limits, SOON};
use super::rate::Window;
use super::share::Share;
use super::usage::Snapshot;

/// How old the sums of a shared store may be when a run is accepted.
const FRESH: Duration = Duration::from_secs(1);

/// How long to wait for the answer of a shared store that limits are asked of.
const PATIENCE: Duration = Duration::from_secs(2);

/// What all accounts of a process have in common.
#[derive(Debug, Clone)]
pub(super) struct AccountHost {
    pub(super) host: Arc<dyn Host>,
    pub(super) clock: Arc<LimitClock>,
    pub(super) demand: Arc<Demand>,
}

/// The account of one API key.
#[derive(Debug)]
pub struct Account {
    key: Arc<str>,
    common: AccountHost,
    ledger: Mutex<Ledger>,
    /// A call was settled, or the store has answered: others may fit now.
    settled: Notify,
}

/// What is asked of a shared store for one key.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) wish: Wish,
    pub(super) by: ReplicaId,
}

impl Account {
    pub(super) fn new(
        key: Arc<str>,
        common: AccountHost,
        limits: Limits,
        today: Spent,
        by: ReplicaId,
    ) -> Self {
        let share = common.clock.is_of_store().then(|| Share::new(by));
        let day = common.clock.day();
        Self {
            key,
            common,
            ledger: Mutex::new(Ledger::new(limits, day, today, share)),
            settled: Notify::new(),
        }
    }

    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.common.host.elapsed()
    }

    pub(super) fn settled(&self) -> &Notify {
        &self.settled
    }

    /// Has the store asked soon for what this key wants.
    pub(super) fn ask_store(&self) {
        self.common.demand.ask(&self.key);
    }

    /// Whether it makes sense to do so at once for a call that waits.
    pub(super) fn may_ask_store(&self) -> bool {
        let ledger = self.ledger();
        ledger.share.as_deref().is_some_and(Share::may_ask)
    }

    /// Takes effect at once, for what follows.
    pub(super) fn set_limits(&self, limits: Limits) {
        let mut ledger = self.ledger();
        let is_changed = std::mem::replace(&mut ledger.limits, limits) != limits;
        if let Some(share) = ledger.share.as_mut().filter(|_| is_changed) {
            share.give_back_soon(Amounts::default());
        }
        drop(ledger);
        self.settled.notify_waiters();
    }

    /// Counts a request. Returns how much of the limit is left, where there is one. `None`: the store
    /// has to be asked, with [`request_of_store`](Self::request_of_store).
    pub fn request(&self) -> Option<Result<Option<Window>, Exceeded>> {
        let mut ledger = self.today();
        let now = self.elapsed();
        let window = match ledger.limits.requests_per_minute {
            None => None,
            Some(most) => {
                let taken = match &mut ledger.share {
                    None => ledger.bucket.take(most, now),
                    Some(share) => share.request(most, now)?,
                };
                let exceeded = |retry_after| Exceeded {
                    limit: Limit::Requests,
                    most: most.get().into(),
                    retry_after,
                    renews: None,
                };
                match taken {
                    Ok(window) => Some(window),
                    Err(retry_after) => return Some(Err(exceeded(retry_after))),
                }
            }
        };
        ledger.fresh.requests += 1;
        Some(Ok(window))
    }

    /// As [`request`](Self::request), where the store has to be asked. While the store does not answer,
    /// the request is let in: without the store, it can have nothing done.
    pub async fn request_of_store(&self) -> Result<Option<Window>, Exceeded> {
        let _waiting = WaitingRequest::new(self);
        let counted = async {
            loop {
                let mut settled = std::pin::pin!(self.settled.notified());
                settled.as_mut().enable();
                if let Some(counted) = self.request() {
                    return counted;
                }
                self.ask_store();
                settled.await;
            }
        };
        tokio::select! {
            biased;
            counted = counted => counted,
            () = self.common.host.sleep(PATIENCE) => {
                self.today().fresh.requests += 1;
                Ok(None)
            }
        }
    }

    /// Counts a run that is about to be accepted, and whether it is to wait, where the limits allow
    /// it.
    pub(super) fn let_in(&self, waits: bool) -> Result<(), Exceeded> {
        let mut ledger = self.today();
        ledger
            .room_for_run(waits)
            .map_err(|(limit, most)| self.exceeded(limit, most, &ledger))?;
        ledger.count(waits);
        Ok(())
    }

    /// Refuses a run where what the key may spend today is used up.
    pub(super) fn check_day(&self) -> Result<(), Exceeded> {
        let ledger = self.today();
        ledger
            .is_left()
            .map_err(|(limit, most)| self.exceeded(limit, most, &ledger))
    }

    /// What the store is to enforce where it counts the jobs of each key.
    pub(crate) fn owner_limits(&self) -> OwnerLimits {
        let limits = self.ledger().limits;
        OwnerLimits {
            max_running: limits.max_running.map(std::num::NonZero::get),
            max_queued: limits.max_queued,
        }
    }

    /// Waits until what the key has spent at other replicas is known here, if it has limits per day and
    /// the store answers.
    pub(crate) async fn refreshed(&self) {
        let asked_at = self.elapsed();
        if self
            .ledger()
            .knows_sum_since(asked_at.saturating_sub(FRESH))
        {
            return;
        }
        let known = async {
            loop {
                let mut settled = std::pin::pin!(self.settled.notified());
                settled.as_mut().enable();
                if self.ledger().knows_sum_since(asked_at) {
                    return;
                }
                if let Some(share) = &mut self.ledger().share {
                    share.wants_sum();
                }
                self.ask_store();
                settled.await;
            }
        };
        tokio::select! {
            () = known => {}
            () = self.common.host.sleep(PATIENCE) => {}
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
        let (daily, others) = (ledger.daily(), ledger.share.as_deref().map(Share::others));
        let taken = taken.plus(others.unwrap_or_default());
        Snapshot {
            limits: ledger.limits,
            running: ledger.running,
            waiting: ledger.waiting,
            day: ledger.day,
            spent,
            left_tokens: daily.tokens.map(|most| most.saturating_sub(taken.tokens)),
            left_nano_usd: daily
                .nano_usd
                .map(|most| most.saturating_sub(taken.nano_usd)),
        }
    }

    fn take_unwritten(&self, ledger: &mut Ledger) -> Vec<KeyDay> {
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

    /// What the store does not have yet, and what the key wants of a shared one. The account must be told
    /// whether it was written.
    pub(super) fn take_batch(&self) -> (Vec<KeyDay>, Option<Asked>) {
        let mut ledger = self.today();
        let (limits, daily, reserved) = (ledger.limits, ledger.daily(), ledger.reserved);
        let now = self.elapsed();
        let asked = ledger.share.as_mut().and_then(|share| {
            let want = share.want(daily, reserved, limits.requests_per_minute, now)?;
            let wish = Wish {
                key: self.key.clone(),
                limits: daily,
                keep: want.keep,
                least: want.least,
                all: want.all,
                spare: want.spare,
                requests: want.requests,
            };
            Some(Asked {
                wish,
                by: share.by(),
            })
        });
        (self.take_unwritten(&mut ledger), asked)
    }

    /// The store has it, and this sum for the day.
    pub(super) fn was_written(&self, written: &KeyDay, sum: Spent) {
        let mut ledger = self.today();
        if ledger.day == written.day {
            ledger.stored = sum;
            ledger.sent = Spent::default();
        }
    }

    /// The store has answered: what all replicas have spent on that day, and what is set aside.
    pub(super) fn was_answered(
        &self,
        asked: &Asked,
        day: Day,
        spent: Spent,
        allotment: &Allotment,
    ) {
        let mut ledger = self.today();
        let (now, daily, reserved) = (self.elapsed(), ledger.daily(), ledger.reserved);
        if ledger.day == day {
            ledger.stored = spent;
        }
        if let Some(share) = &mut ledger.share {
            let asked_requests = asked.wish.requests.is_some();
            share.answered(asked.by, allotment, asked_requests, now);
            share.note_refusal(daily, reserved);
        }
        drop(ledger);
        self.settled.notify_waiters();
    }

    /// What all replicas have spent today, as read from a shared store.
    pub(super) fn learn_sum(&self, sum: &KeyDay) {
        let mut ledger = self.today();
        if ledger.share.is_some() && ledger.day == sum.day {
            ledger.stored = sum.spent;
        }
    }

    /// Whether calls or requests wait for the store.
    pub(super) fn is_waiting(&self) -> bool {
        let ledger = self.ledger();
        let share = ledger.share.as_deref();
        share.is_some_and(Share::is_waiting)
    }

    /// Whether calls wait for what others have set aside.
    pub(super) fn is_refused(&self) -> bool {
        let ledger = self.ledger();
        let share = ledger.share.as_deref();
        share.is_some_and(Share::is_refused)
    }

    /// Gives back at once what is not needed here: another replica needs it.
    pub(super) fn give_back_soon(&self) {
        let mut ledger = self.ledger();
        let reserved = ledger.reserved;
        let share = ledger.share.as_mut();
        if share.is_some_and(|share| share.give_back_soon(reserved)) {
            self.ask_store();
        }
    }

    /// See [`Share::begin_anew`].
    pub(super) fn begin_anew(&self, by: ReplicaId) {
        if let Some(share) = &mut self.ledger().share {
            share.begin_anew(by);
        }
    }

    fn exceeded(&self, limit: Limit, most: u64, ledger: &Ledger) -> Exceeded {
        let renews = match limit {
            Limit::Tokens | Limit::Cost => Some(ledger.day.next()),
            Limit::Requests | Limit::Address | Limit::Running | Limit::Queued => None,
        };
        let until = renews.map(|day| day.begins().duration_since(self.common.clock.now()));
        Exceeded {
            limit,
            most,
            retry_after: until.map_or(SOON, |until| until.try_into().unwrap_or(SOON)),
            renews,
        }
    }

    /// The ledger of today.
    pub(super) fn today(&self) -> MutexGuard<'_, Ledger> {
        let today = self.common.clock.day();
        let mut ledger = self.ledger();
        // A clock that is set back does not undo what was spent.
        if today > ledger.day {
            ledger.turn_to(today);
        }
        ledger
    }

    /// The sums stay valid after a panic: each change is a few additions.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits for the store, until this is dropped.
struct WaitingRequest<'a>(&'a Account);

impl<'a> WaitingRequest<'a> {
    fn new(account: &'a Account) -> Self {
        if let Some(share) = &mut account.ledger().share {
            share.request_waits(true);
        }
        Self(account)
    }
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        if let Some(share) = &mut self.0.ledger().share {
            share.request_waits(false);
        }
    }
}
