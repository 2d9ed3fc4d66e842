//! API keys in memory. They are few, so a list suffices.

use std::sync::{Arc, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;

use super::MemoryStore;
use crate::key::{Changed, Hidden256, KeyChange, KeyRecord, KeyStore, Keys, Previous};
use crate::store::Error;

impl MemoryStore {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys
            .lock()
            .expect("nothing panics while it holds the keys")
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn hashing_key(&self, fresh: Hidden256) -> Result<Hidden256, Error> {
        Ok(self.keys().hashing_key.get_or_insert(fresh).clone())
    }

    async fn keys(&self) -> Result<Keys, Error> {
        Ok(self.keys().clone())
    }

    async fn add_key(&self, key: KeyRecord) -> Result<bool, Error> {
        let records = &mut self.keys().records;
        if let Some(stored) = records.iter().find(|stored| stored.id == key.id) {
            return Ok(key.hash.is_stored_as(&stored.hash));
        }
        records.push(key);
        Ok(true)
    }

    async fn change_key(&self, id: &str, change: KeyChange) -> Result<Changed, Error> {
        let records = &mut self.keys().records;
        let Some(key) = records.iter_mut().find(|key| &*key.id == id) else {
            return Ok(Changed::NotFound);
        };
        if key.revoked_at.is_some() {
            return Ok(Changed::Revoked);
        }
        match change {
            KeyChange::Rotate { hash, .. } if hash.is_stored_as(&key.hash) => {}
            KeyChange::Rotate {
                hash,
                previous_until,
            } => {
                let replaced = std::mem::replace(&mut key.hash, hash);
                key.previous = previous_until.map(|until| Previous {
                    hash: replaced,
                    until,
                });
            }
            KeyChange::Revoke { at } => key.revoked_at = Some(at),
        }
        Ok(Changed::Done(Box::new(key.clone())))
    }

    async fn keys_used(&self, uses: Vec<(Arc<str>, Timestamp)>) -> Result<(), Error> {
        let records = &mut self.keys().records;
        for (id, at) in uses {
            if let Some(key) = records.iter_mut().find(|key| key.id == id) {
                key.last_used_at = key.last_used_at.max(Some(at));
            }
        }
        Ok(())
    }
}
