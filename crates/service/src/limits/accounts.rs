//! All accounts, and the store that remembers what was spent.
//!
//! A process that has its store to itself decides by itself, and stores what was spent every second.
//! Where several share a store, each has a part of every limit (`share`). What it wants is asked for in
//! batches, which also store what was spent: every second, and at once where something waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use engine::host::Host;
use jobs::signals::{Signal, Signals};
use jobs::spend::{BatchNumber, Day, KeyDay, SpendStore, Spent};
use jobs::store::{Error, ReplicaId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::completion::completed;

use super::account::{Account, AccountHost, Asked};
use super::clock::LimitClock;
use super::demand::Demand;
use super::limit::Limits;
use super::usage::{DAYS, KeyUsage};

/// How often spending is stored: what a crash may lose.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// How often a shared store is asked again where others have set aside what a call needs, or where it
/// does not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Days for which spending is kept.
const KEPT_DAYS: i64 = 400;

/// All accounts, by key.
#[derive(Debug)]
pub struct Accounts {
    store: Arc<dyn SpendStore>,
    common: AccountHost,
    defaults: Limits,
    by_key: RwLock<HashMap<Arc<str>, Arc<Account>>>,
    /// Whose batches the store counts.
    writer: ReplicaId,
    /// For whom a shared store sets something aside.
    replica: Mutex<ReplicaId>,
    /// Held during a write.
    writing: tokio::sync::Mutex<Writing>,
    /// Writes that are under way.
    writes: TaskTracker,
}

#[derive(Debug, Default)]
struct Writing {
    /// Spending and wishes on their way to the store. They stay, with their number, where the store
    /// does not answer.
    batch: Vec<Entry>,
    by: Option<ReplicaId>,
    number: u64,
    /// The day on which old days were last removed.
    forgotten_on: Option<Day>,
}

#[derive(Debug)]
struct Entry {
    account: Arc<Account>,
    spent: Vec<KeyDay>,
    asked: Option<Asked>,
}

/// Whose spending and wishes a batch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    All,
    /// Of those that have asked.
    Demanded,
}

impl Accounts {
    /// Reads today's spending from a store that this process has to itself. `defaults` apply to keys
    /// without limits of their own.
    pub async fn open(
        store: Arc<dyn SpendStore>,
        host: Arc<dyn Host>,
        defaults: Limits,
    ) -> Result<Self, Error> {
        let writer = ReplicaId(host.new_id());
        let clock = LimitClock::of_host(host.clone());
        Self::with(store, host, clock, defaults, writer).await
    }

    /// As [`open`](Self::open), of a store that other processes use at the same time. Its clock says
    /// which day it is.
    pub async fn open_shared(
        store: Arc<dyn SpendStore>,
        host: Arc<dyn Host>,
        defaults: Limits,
    ) -> Result<Self, Error> {
        let writer = ReplicaId(host.new_id());
        let asked_at = host.elapsed();
        let nothing = BatchNumber { writer, number: 0 };
        let (no_spending, no_wishes) = (Vec::new(), Vec::new());
        let answer = store.allot(nothing, writer, no_spending, no_wishes, host.now());
        let clock = LimitClock::of_store(host.clone(), answer.await?.now, asked_at);
        Self::with(store, host, clock, defaults, writer).await
    }

    async fn with(
        store: Arc<dyn SpendStore>,
        host: Arc<dyn Host>,
        clock: LimitClock,
        defaults: Limits,
        writer: ReplicaId,
    ) -> Result<Self, Error> {
        let today = clock.day();
        let common = AccountHost {
            host,
            clock: Arc::new(clock),
            demand: Arc::new(Demand::default()),
        };
        let mut accounts = HashMap::new();
        for KeyDay { key, day, spent } in store.spent(None, today).await? {
            if day == today {
                let account = Account::new(key.clone(), common.clone(), defaults, spent, writer);
                accounts.insert(key, Arc::new(account));
            }
        }
        Ok(Self {
            store,
            common,
            defaults,
            by_key: RwLock::new(accounts),
            writer,
            // Until there is one.
            replica: Mutex::new(writer),
            writing: tokio::sync::Mutex::default(),
            writes: TaskTracker::new(),
        })
    }

    /// Whether other processes count the same keys.
    pub(crate) fn are_shared(&self) -> bool {
        self.common.clock.is_of_store()
    }

    /// The replica for which a shared store sets something aside from now on. What was set aside for
    /// another is not any more.
    pub(crate) fn set_replica(&self, id: ReplicaId) {
        *self.replica.lock().unwrap_or_else(PoisonError::into_inner) = id;
        for account in self.all() {
            account.begin_anew(id);
        }
    }

    fn replica(&self) -> ReplicaId {
        *self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of a key.
    pub(crate) fn of(&self, key: &Arc<str>) -> Arc<Account> {
        let accounts = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(key) {
            return account.clone();
        }
        drop(accounts);
        let mut accounts = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let (common, nothing) = (self.common.clone(), Spent::default());
            let made = Account::new(key.clone(), common, self.defaults, nothing, self.replica());
            Arc::new(made)
        };
        accounts.entry(key.clone()).or_insert_with(made).clone()
    }

    /// The account of a key with limits of its own.
    pub(crate) fn limited(&self, key: &Arc<str>, limits: Limits) -> Arc<Account> {
        let account = self.of(key);
        account.set_limits(limits.or(&self.defaults));
        account
    }

    /// The state and the recent spending of one key, or of each, by id.
    pub async fn usage(self: &Arc<Self>, key: Option<&str>) -> Result<Vec<KeyUsage>, Error> {
        self.write().await?;
        let since = self.common.clock.day().earlier(DAYS - 1);
        let mut days: HashMap<Arc<str>, Vec<KeyDay>> = HashMap::new();
        for spent in self.store.spent(key, since).await? {
            days.entry(spent.key.clone()).or_default().push(spent);
        }
        let mut ids: Vec<Arc<str>> = self
            .all()
            .into_iter()
            .map(|account| account.key().clone())
            .collect();
        ids.extend(days.keys().cloned());
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| key.is_none_or(|key| **id == *key));
        let usage = |id: Arc<str>| {
            let (account, days) = (self.of(&id), days.remove(&id).unwrap_or_default());
            if let Some(last) = days.last() {
                account.learn_sum(last);
            }
            KeyUsage::new(id, account.snapshot(), days)
        };
        Ok(ids.into_iter().map(usage).collect())
    }

    /// Stores what was spent, until `stop`. One task must run this.
    pub(crate) async fn keep(self: &Arc<Self>, stop: &CancellationToken) {
        let mut is_failing = false;
        loop {
            let pause = self.common.host.sleep(WRITE_EVERY);
            let goes_on = stop.run_until_cancelled(pause).await;
            match self.write().await {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    tracing::warn!(%error, "cannot store what API keys have spent; retrying");
                    is_failing = true;
                }
                Err(_) => {}
            }
            if goes_on.is_none() {
                self.writes.close();
                self.writes.wait().await;
                return;
            }
        }
    }

    /// Asks a shared store at once where something waits for it, until `stop`. One task must run this.
    /// Where others have set aside what is needed, they are told.
    pub(crate) async fn serve_demand(
        self: &Arc<Self>,
        signals: &dyn Signals,
        stop: &CancellationToken,
    ) {
        let mut asks_again = false;
        loop {
            let again = async {
                if asks_again {
                    self.common.host.sleep(ASK_AGAIN_AFTER).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.common.demand.asked() => {}
                () = again => {}
            }
            // A failure is told by the task that stores every second.
            asks_again = match self.write_for(Whose::Demanded).await {
                Ok(waiting) => {
                    for account in waiting.iter().filter(|account| account.is_refused()) {
                        signals.publish(Signal::GiveBack(account.key().clone()));
                    }
                    !waiting.is_empty()
                }
                Err(_) => true,
            };
        }
    }

    /// Another process needs what is set aside for this key.
    pub(crate) fn give_back(&self, key: &str) {
        let accounts = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(key) {
            account.give_back_soon();
        }
    }

    /// Stores what was spent, and completes even if this is dropped. What the store does not take is
    /// kept for the next time.
    pub(crate) async fn write(self: &Arc<Self>) -> Result<(), Error> {
        let waiting = self.write_for(Whose::All).await?;
        if let Some(account) = waiting.first() {
            account.ask_store();
        }
        Ok(())
    }

    /// Returns the accounts that still wait; they are asked for again with the next demand.
    async fn write_for(self: &Arc<Self>, whose: Whose) -> Result<Vec<Arc<Account>>, Error> {
        let accounts = self.clone();
        completed(&self.writes, async move { accounts.write_now(whose).await }).await
    }

    async fn write_now(&self, whose: Whose) -> Result<Vec<Arc<Account>>, Error> {
        let mut writing = self.writing.lock().await;
        // One that failed before comes first, and as it was: it may have been stored.
        self.send(&mut writing).await?;
        self.collect(&mut writing, whose);
        let unmet = self.send(&mut writing).await?;
        let today = self.common.clock.day();
        if writing.forgotten_on != Some(today) {
            self.store.forget_spent(today.earlier(KEPT_DAYS)).await?;
            writing.forgotten_on = Some(today);
        }
        Ok(unmet)
    }

    fn collect(&self, writing: &mut Writing, whose: Whose) {
        let demanded = self.common.demand.take();
        let accounts = match whose {
            Whose::All => self.all(),
            Whose::Demanded => demanded.iter().map(|key| self.of(key)).collect(),
        };
        let by = self.replica();
        for account in accounts {
            let (spent, asked) = account.take_batch();
            if !spent.is_empty() || asked.is_some() {
                writing.batch.push(Entry {
                    account,
                    spent,
                    asked,
                });
            }
        }
        if !writing.batch.is_empty() {
            writing.by = Some(by);
            writing.number += 1;
        }
    }

    async fn send(&self, writing: &mut Writing) -> Result<Vec<Arc<Account>>, Error> {
        if writing.batch.is_empty() {
            return Ok(Vec::new());
        }
        let number = BatchNumber {
            writer: self.writer,
            number: writing.number,
        };
        let more = writing.batch.iter().flat_map(|entry| entry.spent.clone());
        let more: Vec<KeyDay> = more.collect();
        if !self.are_shared() {
            let sums = self.store.spend(number, more).await?;
            tell_written(std::mem::take(&mut writing.batch), sums);
            return Ok(Vec::new());
        }
        let wishes = writing
            .batch
            .iter()
            .filter_map(|entry| entry.asked.as_ref());
        let wishes = wishes.map(|asked| asked.wish.clone()).collect();
        let (by, asked_at) = (
            writing.by.unwrap_or(self.writer),
            self.common.host.elapsed(),
        );
        let now = self.common.host.now();
        let allotted = self.store.allot(number, by, more, wishes, now).await?;
        self.common.clock.learn(allotted.now, asked_at);
        let day = Day::of(allotted.now);
        let asked = tell_written(std::mem::take(&mut writing.batch), allotted.sums);
        let mut unmet = Vec::new();
        for ((account, asked), (spent, allotment)) in asked.into_iter().zip(allotted.allotments) {
            account.was_answered(&asked, day, spent, &allotment);
            if account.is_waiting() {
                self.common.demand.ask_later(account.key());
                unmet.push(account);
            }
        }
        Ok(unmet)
    }

    fn all(&self) -> Vec<Arc<Account>> {
        let accounts = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        accounts.values().cloned().collect()
    }
}

/// Tells the accounts of a batch what the store has; returns what was asked with it.
fn tell_written(batch: Vec<Entry>, sums: Vec<Spent>) -> Vec<(Arc<Account>, Asked)> {
    let mut sums = sums.into_iter();
    let mut all_asked = Vec::new();
    for entry in batch {
        for (written, sum) in entry.spent.iter().zip(&mut sums) {
            entry.account.was_written(written, sum);
        }
        if let Some(asked) = entry.asked {
            all_asked.push((entry.account, asked));
        }
    }
    all_asked
}
