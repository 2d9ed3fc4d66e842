//! API keys as a store keeps them: by a keyed hash, never as they were given out. What a key may do, and
//! whether one that was shown is good, is not a store's business.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::json::Json;
use crate::store::Error;

/// 256 bits that are never printed: a hash, or what hashes are keyed with. Has no equality of its own:
/// whoever compares two has to think of the time that it takes.
#[derive(Clone)]
pub struct Hidden256([u8; 32]);

impl Hidden256 {
    /// The bits themselves.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
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

/// One key.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    /// Stands in the key itself, and with the jobs that it made.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// What it may do. Opaque to stores.
    pub grants: Json,
    /// Of the whole key, keyed with [`KeyStore::hashing_key`].
    pub hash: Hidden256,
    /// The secret before this one, while it is still good.
    pub previous: Option<Previous>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is no longer good.
    pub expires_at: Option<Timestamp>,
    /// Since when it is not good any more, for ever.
    pub revoked_at: Option<Timestamp>,
    /// Roughly.
    pub last_used_at: Option<Timestamp>,
}

/// A secret that was replaced.
#[derive(Debug, Clone)]
pub struct Previous {
    /// As [`KeyRecord::hash`].
    pub hash: Hidden256,
    /// From when on it is no longer good.
    pub until: Timestamp,
}

/// All that a store has.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// What their hashes are keyed with; `None` where there never was a key.
    pub hashing_key: Option<Hidden256>,
    /// The oldest first, revoked and expired ones too.
    pub records: Vec<KeyRecord>,
}

/// What is done to a key.
#[derive(Debug, Clone)]
pub enum KeyChange {
    /// It gets another secret.
    Rotate {
        /// Of the new one.
        hash: Hidden256,
        /// How long the old one stays good as well. One that was replaced before it is not good any more.
        previous_until: Option<Timestamp>,
    },
    /// It is not good any more.
    Revoke {
        /// Since when.
        at: Timestamp,
    },
}

/// What became of a change.
#[derive(Debug)]
pub enum Changed {
    /// The key as it is now.
    Done(Box<KeyRecord>),
    /// It had been revoked; nothing was changed.
    Revoked,
    /// There is no such key.
    NotFound,
}

/// A store's keys. Each verb is atomic. As durable as the jobs beside them.
#[async_trait]
pub trait KeyStore: Send + Sync + fmt::Debug {
    /// What hashes of this store are keyed with: `fresh` if it is asked for the first time, and the same
    /// ever after.
    async fn hashing_key(&self, fresh: Hidden256) -> Result<Hidden256, Error>;

    /// All keys.
    async fn keys(&self) -> Result<Keys, Error>;

    /// Adds a key; false, and nothing is changed, where there is one of that id.
    async fn add_key(&self, key: KeyRecord) -> Result<bool, Error>;

    /// Changes a key.
    async fn change_key(&self, id: &str, change: KeyChange) -> Result<Changed, Error>;

    /// Notes when keys were used last. Those that are not here are passed over, and no time goes back.
    async fn keys_used(&self, uses: Vec<(Arc<str>, Timestamp)>) -> Result<(), Error>;
}
