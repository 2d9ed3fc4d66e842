//! A store that two processes have open: each call goes to a handle at random.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fastrand::Rng;
use jiff::Timestamp;
use jobs::allotment::Wish;
use jobs::forward::{ForwardingStore, Verb};
use jobs::key::{Changed, Hidden256, KeyChange, KeyRecord, KeyStore, Keys};
use jobs::spend::{Allotted, BatchNumber, Day, KeyDay, SpendStore, Spent};
use jobs::store::{Error, JobStore, ReplicaId};

use crate::seed::seeded;

#[derive(Debug)]
pub(crate) struct EitherStore<S> {
    handles: [Arc<S>; 2],
    random: Mutex<Rng>,
}

impl<S> EitherStore<S> {
    pub(crate) fn new(one: S, other: S) -> Self {
        Self::of([Arc::new(one), Arc::new(other)])
    }

    /// Of a store that only one process can have open: within it, two parts share the handle.
    pub(crate) fn of_one(store: S) -> Self {
        let store = Arc::new(store);
        Self::of([store.clone(), store])
    }

    fn of(handles: [Arc<S>; 2]) -> Self {
        Self {
            handles,
            random: Mutex::new(seeded()),
        }
    }

    fn either(&self) -> &S {
        let index = self.random.lock().unwrap().usize(..self.handles.len());
        &self.handles[index]
    }
}

impl<S: JobStore> ForwardingStore for EitherStore<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        self.either()
    }

    async fn around<T: Send + 'static>(
        &self,
        _: Verb,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        call.await
    }
}

#[async_trait]
impl<S: KeyStore> KeyStore for EitherStore<S> {
    async fn hashing_key(&self, fresh: Hidden256) -> Result<Hidden256, Error> {
        self.either().hashing_key(fresh).await
    }

    async fn keys(&self) -> Result<Keys, Error> {
        self.either().keys().await
    }

    async fn add_key(&self, key: KeyRecord) -> Result<bool, Error> {
        self.either().add_key(key).await
    }

    async fn change_key(&self, id: &str, change: KeyChange) -> Result<Changed, Error> {
        self.either().change_key(id, change).await
    }

    async fn keys_used(&self, uses: Vec<(Arc<str>, Timestamp)>) -> Result<(), Error> {
        self.either().keys_used(uses).await
    }
}

#[async_trait]
impl<S: SpendStore> SpendStore for EitherStore<S> {
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error> {
        self.either().spend(batch, more).await
    }

    async fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        now: Timestamp,
    ) -> Result<Allotted, Error> {
        self.either().allot(batch, by, more, wishes, now).await
    }

    async fn spent(&self, key: Option<&str>, since: Day) -> Result<Vec<KeyDay>, Error> {
        self.either().spent(key, since).await
    }

    async fn forget_spent(&self, before: Day) -> Result<(), Error> {
        self.either().forget_spent(before).await
    }
}
