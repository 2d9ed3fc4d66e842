//! Creating, rotating, revoking and listing the keys of a store, with or without a running server.

use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use jiff::Timestamp;
use jobs::json::Json;
use jobs::key::{Changed, Hidden256, KeyChange, KeyRecord, KeyStore};
use jobs::store::{Error, later};
use lang::visible::is_hidden;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::grants::Grants;
use super::secret::{self, ApiKey, SecretSource};
use crate::document::Time;

const LONGEST_NAME: usize = 100;

/// The longest time for which a replaced secret may stay valid.
pub const LONGEST_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Creates keys and changes them.
#[derive(Debug, Clone)]
pub struct KeyIssuer {
    /// Keeps the keys.
    pub store: Arc<dyn KeyStore>,
    /// The clock.
    pub host: Arc<dyn Host>,
    /// The source of their secrets.
    pub secrets: Arc<dyn SecretSource>,
}

/// What is asked for with a new key.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// A label for people.
    pub name: String,
    /// What it may do.
    pub grants: Grants,
    /// When it stops being valid.
    pub expires_at: Option<Timestamp>,
}

/// A key that is new or has a new secret. It is shown only this once.
#[derive(Debug)]
pub struct IssuedKey {
    /// The key itself, with its secret.
    pub key: ApiKey,
    /// What can be shown of it later.
    pub view: KeyView,
}

/// Whether a key lets anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum KeyState {
    /// It is valid.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked permanently.
    Revoked,
}

/// An API key without its secret.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub struct KeyView {
    /// The id of the key, which is part of the key itself.
    pub id: Arc<str>,
    /// The name of the key, for people.
    pub name: Arc<str>,
    /// Whether the key is valid now.
    pub state: KeyState,
    /// What it may do.
    #[serde(flatten)]
    pub grants: Grants,
    /// `null` if the key is listed in the server's environment.
    #[serde(serialize_with = "as_time")]
    #[schemars(with = "Option<Time>")]
    pub created_at: Option<Timestamp>,
    /// The key is valid until then.
    #[serde(serialize_with = "as_time")]
    #[schemars(with = "Option<Time>")]
    pub expires_at: Option<Timestamp>,
    /// The time of its last use, to about a minute.
    #[serde(serialize_with = "as_time")]
    #[schemars(with = "Option<Time>")]
    pub last_used_at: Option<Timestamp>,
    /// The key is revoked since then.
    #[serde(serialize_with = "as_time")]
    #[schemars(with = "Option<Time>")]
    pub revoked_at: Option<Timestamp>,
    /// The previous secret is valid until then, too.
    #[serde(serialize_with = "as_time")]
    #[schemars(with = "Option<Time>")]
    pub previous_until: Option<Timestamp>,
}

#[expect(clippy::ref_option, reason = "serde gives it so")]
fn as_time<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(Time).serialize(serializer)
}

impl KeyView {
    fn of(record: KeyRecord, now: Timestamp) -> Self {
        let has_expired = record.expires_at.is_some_and(|end| now >= end);
        let state = match record.revoked_at {
            Some(_) => KeyState::Revoked,
            None if has_expired => KeyState::Expired,
            None => KeyState::Active,
        };
        let previous_until = record.previous.map(|previous| previous.until);
        Self {
            id: record.id,
            name: record.name,
            state,
            // Unreadable grants grant nothing.
            grants: record.grants.read().unwrap_or(Grants {
                scopes: [].into(),
                ..Grants::default()
            }),
            created_at: Some(record.created_at),
            expires_at: record.expires_at,
            last_used_at: record.last_used_at,
            revoked_at: record.revoked_at,
            previous_until: previous_until.filter(|until| now < *until),
        }
    }

    pub(super) fn was_used(&mut self, at: Option<Timestamp>) {
        self.last_used_at = self.last_used_at.max(at);
    }
}

/// Why a key was not created or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such key.
    #[error("there is no key with that id; `flowmill keys list` shows all keys")]
    NotFound,
    /// The key was revoked.
    #[error("the key was revoked; create a new one")]
    Revoked,
    /// The key has expired.
    #[error("the key has expired; create a new one")]
    Expired,
    /// The key is not in the store but in the list.
    #[error("the key comes from FLOWMILL_API_KEYS; change it there and restart the server")]
    Listed,
    /// The request is invalid; a sentence says why.
    #[error("{0}")]
    Invalid(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl KeyIssuer {
    /// Creates a key.
    pub async fn create(&self, new: NewKey) -> Result<IssuedKey, KeyError> {
        let now = self.host.now();
        let name = new.name.trim();
        if name.is_empty() || new.name.chars().count() > LONGEST_NAME {
            return Err(KeyError::Invalid(
                "a key needs a name of 1 to 100 characters",
            ));
        }
        if new.name.contains(is_hidden) {
            return Err(KeyError::Invalid(
                "a key's name must not contain control characters or marks that change the direction of text",
            ));
        }
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(KeyError::Invalid("a key must expire in the future"));
        }
        new.grants.check().map_err(KeyError::Invalid)?;
        let id = self.fresh_id();
        let (key, hash) = self.fresh_key(&id).await?;
        let record = KeyRecord {
            id: id.into(),
            name: name.into(),
            grants: Json::of(&new.grants),
            hash,
            previous: None,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        if !self.store.add_key(record.clone()).await? {
            // One in 2⁴⁸.
            return Err(KeyError::Invalid(
                "the generated id is already in use; try again",
            ));
        }
        Ok(IssuedKey {
            key,
            view: KeyView::of(record, now),
        })
    }

    /// Gives a key a new secret; the old one stays valid for `grace`.
    pub async fn rotate(&self, id: &str, grace: Duration) -> Result<IssuedKey, KeyError> {
        if grace > LONGEST_GRACE {
            return Err(KeyError::Invalid(
                "the old secret can stay valid for at most 30 days",
            ));
        }
        let now = self.host.now();
        let records = self.store.keys().await?.records;
        let found = records.iter().find(|record| &*record.id == id);
        if found.is_some_and(|record| record.expires_at.is_some_and(|end| now >= end)) {
            return Err(KeyError::Expired);
        }
        if found.is_none() {
            return Err(KeyError::NotFound);
        }
        let (key, hash) = self.fresh_key(id).await?;
        let change = KeyChange::Rotate {
            hash,
            previous_until: (!grace.is_zero()).then(|| later(now, grace)),
        };
        let view = self.change(id, change).await?;
        Ok(IssuedKey { key, view })
    }

    /// Revokes a key permanently.
    pub async fn revoke(&self, id: &str) -> Result<KeyView, KeyError> {
        let at = self.host.now();
        self.change(id, KeyChange::Revoke { at }).await
    }

    /// All keys, oldest first.
    pub async fn list(&self) -> Result<Vec<KeyView>, KeyError> {
        let now = self.host.now();
        let records = self.store.keys().await?.records;
        Ok(records
            .into_iter()
            .map(|record| KeyView::of(record, now))
            .collect())
    }

    async fn change(&self, id: &str, change: KeyChange) -> Result<KeyView, KeyError> {
        match self.store.change_key(id, change).await? {
            Changed::Done(record) => Ok(KeyView::of(*record, self.host.now())),
            Changed::Revoked => Err(KeyError::Revoked),
            Changed::NotFound => Err(KeyError::NotFound),
        }
    }

    async fn fresh_key(&self, id: &str) -> Result<(ApiKey, Hidden256), KeyError> {
        let hashing_key = self.store.hashing_key(self.secrets.secret().into()).await?;
        let key = ApiKey::new(id, self.secrets.secret());
        let hash = secret::hash(&hashing_key, &secret::digest(key.reveal()));
        Ok((key, hash))
    }

    fn fresh_id(&self) -> String {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.secrets.secret()[..6]);
        format!("{:012x}", u64::from_be_bytes(bytes))
    }
}
