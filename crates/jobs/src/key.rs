//! API keys as a store keeps them: as a keyed hash, never as they were issued. The store does not
//! know what a key may do or whether a key is valid.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::json::Json;
use crate::store::Error;

/// 256 bits that are never printed: a hash, or the key of a keyed hash. It has no `PartialEq`,
/// since a comparison must take the same time whatever it finds.
#[derive(Clone)]
pub struct Hidden256([u8; 32]);

impl Hidden256 {
    /// The bits themselves.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether it is the one that the store has. Both come from the program itself, so that the time
    /// this takes tells nobody anything.
    pub(crate) fn is_stored_as(&self, stored: &Self) -> bool {
        self.0 == stored.0
    }
}

impl From<[u8; 32]> for Hidden256 {
    fn from(bits: [u8; 32]) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for Hidden256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// An API key.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    /// Part of the key itself, and stored with the jobs that the key submits.
    pub id: Arc<str>,
    /// The name that people gave it.
    pub name: Arc<str>,
    /// What it may do; opaque to stores.
    pub grants: Json,
    /// Hash of the whole key, keyed with [`KeyStore::hashing_key`].
    pub hash: Hidden256,
    /// The secret before this one, while that is still valid.
    pub previous: Option<Previous>,
    /// When it was created.
    pub created_at: Timestamp,
    /// From when on it is no longer valid.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, which is permanent.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, approximately.
    pub last_used_at: Option<Timestamp>,
}

/// A secret that was replaced.
#[derive(Debug, Clone)]
pub struct Previous {
    /// Hash of the whole key with that secret, as [`KeyRecord::hash`].
    pub hash: Hidden256,
    /// From when on it is no longer valid.
    pub until: Timestamp,
}

/// All API keys of a store.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// The key of their hashes; `None` if there never was an API key.
    pub hashing_key: Option<Hidden256>,
    /// The oldest first, including revoked and expired ones.
    pub records: Vec<KeyRecord>,
}

/// A change of an API key.
#[derive(Debug, Clone)]
pub enum KeyChange {
    /// Gives it another secret.
    Rotate {
        /// Hash of the key with the new secret.
        hash: Hidden256,
        /// How long the old secret stays valid as well. A secret before that one is no longer
        /// valid.
        previous_until: Option<Timestamp>,
    },
    /// Revokes it permanently.
    Revoke {
        /// When it is revoked.
        at: Timestamp,
    },
}

/// The result of a change.
#[derive(Debug)]
pub enum Changed {
    /// The key as it is now.
    Done(Box<KeyRecord>),
    /// It had been revoked; nothing was changed.
    Revoked,
    /// There is no such key.
    NotFound,
}

/// A store's API keys. Each verb is atomic, and can be repeated after a lost answer: then it changes
/// nothing more and answers as it did, except where its description says what the second answer is.
/// Keys are as durable as the jobs of the same store.
#[async_trait]
pub trait KeyStore: Send + Sync + fmt::Debug {
    /// The key of this store's hashes. The first call stores `fresh` and returns it; every later
    /// call returns the same.
    async fn hashing_key(&self, fresh: Hidden256) -> Result<Hidden256, Error>;

    /// Returns all keys.
    async fn keys(&self) -> Result<Keys, Error>;

    /// Adds a key. Returns false and changes nothing if there is another key of that id: one with
    /// another hash.
    async fn add_key(&self, key: KeyRecord) -> Result<bool, Error>;

    /// Changes a key. A rotation to the hash that the key has already changes nothing. A revocation,
    /// repeated, finds the key [revoked](Changed::Revoked).
    async fn change_key(&self, id: &str, change: KeyChange) -> Result<Changed, Error>;

    /// Notes when keys were used last. Unknown keys are ignored, and an earlier time changes
    /// nothing.
    async fn keys_used(&self, uses: Vec<(Arc<str>, Timestamp)>) -> Result<(), Error>;
}
