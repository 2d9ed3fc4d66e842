//! All accounts, and the store that remembers what was spent.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engine::host::Host;
use jobs::spend::{BatchNumber, Day, KeyDay, SpendStore, Spent};
use jobs::store::{Error, ReplicaId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::completion::completed;

use super::account::Account;
use super::limit::Limits;
use super::usage::{DAYS, KeyUsage};

/// How often spending is stored: what a crash may lose.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Days for which spending is kept.
const KEPT_DAYS: i64 = 400;

/// All accounts, by key.
#[derive(Debug)]
pub struct Accounts {
    store: Arc<dyn SpendStore>,
    host: Arc<dyn Host>,
    defaults: Limits,
    by_key: RwLock<HashMap<Arc<str>, Arc<Account>>>,
    /// Whose batches the store counts.
    writer: ReplicaId,
    /// Held during a write.
    writing: tokio::sync::Mutex<Writing>,
    /// Writes that are under way.
    writes: TaskTracker,
}

#[derive(Debug, Default)]
struct Writing {
    /// Spending on its way to the store. It stays, with its number, where the store does not answer.
    batch: Vec<(Arc<Account>, KeyDay)>,
    number: u64,
    /// The day on which old days were last removed.
    forgotten_on: Option<Day>,
}

impl Accounts {
    /// Reads today's spending from the store. `defaults` apply to keys without limits of their own.
    pub async fn open(
        store: Arc<dyn SpendStore>,
        host: Arc<dyn Host>,
        defaults: Limits,
    ) -> Result<Self, Error> {
        let today = Day::of(host.now());
        let mut accounts = HashMap::new();
        for KeyDay { key, day, spent } in store.spent(None, today).await? {
            if day == today {
                let account = Account::new(key.clone(), host.clone(), defaults, spent);
                accounts.insert(key, Arc::new(account));
            }
        }
        Ok(Self {
            store,
            writer: ReplicaId(host.new_id()),
            host,
            defaults,
            by_key: RwLock::new(accounts),
            writing: tokio::sync::Mutex::default(),
            writes: TaskTracker::new(),
        })
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
            let (host, nothing) = (self.host.clone(), Spent::default());
            Arc::new(Account::new(key.clone(), host, self.defaults, nothing))
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
        let since = Day::of(self.host.now()).earlier(DAYS - 1);
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
            let snapshot = self.of(&id).snapshot();
            KeyUsage::new(id.clone(), snapshot, days.remove(&id).unwrap_or_default())
        };
        Ok(ids.into_iter().map(usage).collect())
    }

    /// Stores what was spent, until `stop`. One task must run this.
    pub(crate) async fn keep(self: &Arc<Self>, stop: &CancellationToken) {
        let mut is_failing = false;
        loop {
            let goes_on = stop.run_until_cancelled(self.host.sleep(WRITE_EVERY)).await;
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

    /// Stores what was spent, and completes even if this is dropped. What the store does not take is
    /// kept for the next time.
    async fn write(self: &Arc<Self>) -> Result<(), Error> {
        let accounts = self.clone();
        completed(&self.writes, async move { accounts.write_now().await }).await
    }

    async fn write_now(&self) -> Result<(), Error> {
        let mut writing = self.writing.lock().await;
        // One that failed before comes first, and as it was: it may have been stored.
        loop {
            if writing.batch.is_empty() {
                for account in self.all() {
                    for spent in account.take_unwritten() {
                        writing.batch.push((account.clone(), spent));
                    }
                }
                if writing.batch.is_empty() {
                    break;
                }
                writing.number += 1;
            }
            let number = BatchNumber {
                writer: self.writer,
                number: writing.number,
            };
            let more = writing.batch.iter().map(|(_, spent)| spent.clone());
            let sums = self.store.spend(number, more.collect()).await?;
            for ((account, written), sum) in writing.batch.drain(..).zip(sums) {
                account.was_written(&written, sum);
            }
        }
        let today = Day::of(self.host.now());
        if writing.forgotten_on != Some(today) {
            self.store.forget_spent(today.earlier(KEPT_DAYS)).await?;
            writing.forgotten_on = Some(today);
        }
        Ok(())
    }

    fn all(&self) -> Vec<Arc<Account>> {
        let accounts = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        accounts.values().cloned().collect()
    }
}
