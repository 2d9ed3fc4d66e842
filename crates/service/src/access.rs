//! Who may do what: API keys, their scopes and workflows.
//!
//! Keys come from a store (`issuer` creates, rotates and revokes them) or from a read-only list
//! (`listed`). All of them are kept in memory (`keyring`), so checking a key takes no read from the
//! store. A change made here takes effect at once; one that another process makes in a shared store
//! takes effect when its signal comes, at the latest after [`RELOAD_EVERY`]. So does the first key: a
//! server that began without keys, and so let everyone in, lets in only callers with a key from then on.

mod grants;
mod issuer;
mod keyring;
mod listed;
mod secret;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jobs::key::Hidden256;
use jobs::signals::{Heard, NoSignals, Signal, Signals, Subscription};
use jobs::store::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use grants::{Grants, Scope};
pub use issuer::{IssuedKey, KeyError, KeyIssuer, KeyState, KeyView, LONGEST_GRACE, NewKey};
pub use keyring::Identity;
pub use listed::{InvalidKeyList, ListedKey, ListedKeys};
pub use secret::{ApiKey, SecretSource};

use crate::completion::completed;
use crate::limits::{Accounts, KeyUsage};
use keyring::Keyring;

/// How long it may take until a change by another process takes effect here, and until a use of a
/// key is stored.
pub const RELOAD_EVERY: Duration = Duration::from_secs(15);

/// Identifies callers by their API keys.
#[derive(Debug)]
pub struct Access {
    issuer: KeyIssuer,
    listed: ListedKeys,
    accounts: Arc<Accounts>,
    ring: RwLock<Arc<Keyring>>,
    /// There is a key, or was: from then on callers need one.
    is_in_use: AtomicBool,
    /// Held from a change until its result has been read, so that an older reading never wins.
    changing: tokio::sync::Mutex<()>,
    /// Changes that are under way.
    changes: TaskTracker,
    /// To and from other processes that use the same keys.
    signals: Arc<dyn Signals>,
}

impl Access {
    /// With the keys of a store and those of a list. `None` where the list is empty and the store
    /// never had a key: then callers need none. Where all keys are revoked or expired, no caller
    /// gets in.
    pub async fn open(
        issuer: KeyIssuer,
        listed: ListedKeys,
        accounts: Arc<Accounts>,
    ) -> Result<Option<Self>, Error> {
        let access = Self::open_shared(issuer, listed, accounts).await?;
        Ok(access.is_in_use().then_some(access))
    }

    /// As [`open`](Self::open), with the keys of a store in which other processes may create the first
    /// one: see [`is_in_use`](Self::is_in_use).
    pub async fn open_shared(
        issuer: KeyIssuer,
        listed: ListedKeys,
        accounts: Arc<Accounts>,
    ) -> Result<Self, Error> {
        let keys = issuer.store.keys().await?;
        let is_in_use = !keys.records.is_empty() || !listed.is_empty();
        let hashing_key = keys
            .hashing_key
            .unwrap_or_else(|| Hidden256::from(issuer.secrets.secret()));
        let ring = Keyring::new(hashing_key, &keys.records, &listed, &accounts, None);
        for record in &keys.records {
            if listed.names(&record.id) {
                tracing::warn!(key = %record.id, "a key from FLOWMILL_API_KEYS replaces the key in the store with the same id");
            }
        }
        Ok(Self {
            issuer,
            listed,
            accounts,
            ring: RwLock::new(Arc::new(ring)),
            is_in_use: AtomicBool::new(is_in_use),
            changing: tokio::sync::Mutex::default(),
            changes: TaskTracker::new(),
            signals: Arc::new(NoSignals),
        })
    }

    /// Whether callers need a key. Once they do, they always will: where all keys are revoked, no
    /// caller gets in.
    pub fn is_in_use(&self) -> bool {
        self.is_in_use.load(Ordering::Relaxed)
    }

    /// Tells other processes of changes, and hears of theirs.
    #[must_use]
    pub fn signalling(self, signals: Arc<dyn Signals>) -> Self {
        Self { signals, ..self }
    }

    /// The issuer of the store's keys. What is done with it directly takes effect here after
    /// [`RELOAD_EVERY`].
    pub fn issuer(&self) -> &KeyIssuer {
        &self.issuer
    }

    /// What the keys have spent.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// What one key, or each of them, has spent and has left, with its name.
    pub async fn usage(&self, key: Option<&str>) -> Result<Vec<KeyUsage>, Error> {
        let mut usage = self.accounts.usage(key).await?;
        let ring = self.ring();
        for one in &mut usage {
            one.name = ring.name(&one.key);
        }
        Ok(usage)
    }

    /// Pairs of a key and a workflow that it is restricted to and that is not known.
    pub async fn unknown_workflows(
        &self,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Vec<(KeyView, String)>, KeyError> {
        let mut unknown = Vec::new();
        for view in self.list().await? {
            if view.state == KeyState::Active {
                let workflows = view.grants.workflows.iter().flatten();
                let missing: Vec<String> =
                    workflows.filter(|name| !is_known(name)).cloned().collect();
                unknown.extend(missing.into_iter().map(|name| (view.clone(), name)));
            }
        }
        Ok(unknown)
    }

    /// The identity behind a key, if the key is valid now. Takes the same time whatever is wrong
    /// with it.
    pub fn identify(&self, presented: &str) -> Option<Arc<Identity>> {
        self.ring().identify(presented, self.issuer.host.now())
    }

    /// Creates a key. Like the next two, it completes even if its future is dropped.
    pub async fn create(self: &Arc<Self>, new: NewKey) -> Result<IssuedKey, KeyError> {
        self.change(|issuer| async move { issuer.create(new).await })
            .await
    }

    /// Gives a key a new secret; the old one stays valid for `grace`.
    pub async fn rotate(
        self: &Arc<Self>,
        id: &str,
        grace: Duration,
    ) -> Result<IssuedKey, KeyError> {
        self.refuse_listed(id)?;
        let id = id.to_owned();
        self.change(move |issuer| async move { issuer.rotate(&id, grace).await })
            .await
    }

    /// Revokes a key permanently.
    pub async fn revoke(self: &Arc<Self>, id: &str) -> Result<KeyView, KeyError> {
        self.refuse_listed(id)?;
        let id = id.to_owned();
        self.change(move |issuer| async move { issuer.revoke(&id).await })
            .await
    }

    /// Changes the keys of the store, and answers when the change has taken effect here.
    async fn change<T, F>(
        self: &Arc<Self>,
        change: impl FnOnce(KeyIssuer) -> F + Send + 'static,
    ) -> Result<T, KeyError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, KeyError>> + Send,
    {
        let access = self.clone();
        completed(&self.changes, async move {
            let _changing = access.changing.lock().await;
            let changed = change(access.issuer.clone()).await;
            // Also where it is not known whether the store has taken it.
            if !matches!(changed, Err(KeyError::Invalid(_) | KeyError::NotFound)) {
                access.signals.publish(Signal::KeysChanged);
                access.reload().await?;
            }
            changed
        })
        .await
    }

    /// All keys: those of the list, then those of the store, oldest first.
    pub async fn list(&self) -> Result<Vec<KeyView>, KeyError> {
        let ring = self.ring();
        let mut views: Vec<_> = self.listed.views().collect();
        let stored = self.issuer.list().await?;
        views.extend(
            stored
                .into_iter()
                .filter(|view| !self.listed.names(&view.id)),
        );
        for view in &mut views {
            view.was_used(ring.last_used(&view.id));
        }
        Ok(views)
    }

    /// Stores uses and spending, and reloads what other processes have changed, until `stop`. One
    /// task must run this until after the last run has ended.
    pub async fn keep(&self, stop: CancellationToken) {
        tokio::join!(self.keep_keys(&stop), self.accounts.keep(&stop));
    }

    async fn keep_keys(&self, stop: &CancellationToken) {
        let mut signals = self.signals.subscribe();
        loop {
            let due = async {
                tokio::select! {
                    biased;
                    () = keys_changed(&mut signals) => {}
                    () = self.issuer.host.sleep(RELOAD_EVERY) => {}
                }
            };
            if stop.run_until_cancelled(due).await.is_none() {
                break;
            }
            self.keep_once().await;
        }
        self.changes.close();
        self.changes.wait().await;
        self.write_uses().await;
    }

    async fn keep_once(&self) {
        self.write_uses().await;
        let _changing = self.changing.lock().await;
        if let Err(error) = self.reload().await {
            tracing::warn!(%error, "cannot reload the API keys; the known keys stay in use");
        }
    }

    async fn write_uses(&self) {
        let uses = self.ring().take_uses();
        if !uses.is_empty()
            && let Err(error) = self.issuer.store.keys_used(uses).await
        {
            tracing::warn!(%error, "cannot store when API keys were last used");
        }
    }

    fn refuse_listed(&self, id: &str) -> Result<(), KeyError> {
        if self.listed.names(id) {
            return Err(KeyError::Listed);
        }
        Ok(())
    }

    /// With `changing` held.
    async fn reload(&self) -> Result<(), Error> {
        let keys = self.issuer.store.keys().await?;
        let before = self.ring();
        let hashing_key = keys
            .hashing_key
            .unwrap_or_else(|| before.hashing_key().clone());
        let (listed, accounts) = (&self.listed, &self.accounts);
        let ring = Keyring::new(hashing_key, &keys.records, listed, accounts, Some(&before));
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        if !keys.records.is_empty() && !self.is_in_use.swap(true, Ordering::Relaxed) {
            tracing::info!("an API key was created: from now on callers need one");
        }
        Ok(())
    }

    fn ring(&self) -> Arc<Keyring> {
        self.ring
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Waits until another process may have changed keys.
async fn keys_changed(signals: &mut Subscription) {
    loop {
        if let Heard::Rescan | Heard::Signal(Signal::KeysChanged) = signals.next().await {
            return;
        }
    }
}
