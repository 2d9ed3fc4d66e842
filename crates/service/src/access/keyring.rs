//! The known keys, in memory. A keyring is not changed, except for the uses of its keys: a new one
//! replaces it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use jobs::key::{Hidden256, KeyRecord, Previous};
use subtle::{Choice, ConstantTimeEq as _};

use super::grants::{Grants, Scope};
use super::listed::ListedKeys;
use super::secret;
use crate::limits::{Account, Accounts};

/// The longest key that is hashed; nothing longer can be a key.
const LONGEST: usize = 512;

/// A use within this many seconds of the last one noted is not noted.
const USE_PRECISION_S: i64 = 60;

/// The caller behind a key that was valid when it was presented.
#[derive(Debug)]
pub struct Identity {
    /// The key's id, which owns its jobs.
    pub id: Arc<str>,
    grants: Grants,
    account: Arc<Account>,
    uses: Arc<UseTimes>,
}

impl Identity {
    /// Whether the key has a scope.
    pub fn allows(&self, scope: Scope) -> bool {
        self.grants.allow(scope)
    }

    /// Whether the key may use a workflow.
    pub fn allows_workflow(&self, name: &str) -> bool {
        self.grants.allow_workflow(name)
    }

    /// The workflows that the key is restricted to; `None` for all.
    pub fn workflows(&self) -> Option<&BTreeSet<String>> {
        self.grants.workflows.as_ref()
    }

    /// What the key has used, and how much it has left.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether the key may see the jobs of every key.
    pub fn sees_all_jobs(&self) -> bool {
        self.grants.allow(Scope::Admin)
    }
}

/// When a key was used last: seconds since 1970, 0 for never.
#[derive(Debug, Default)]
struct UseTimes {
    noted: AtomicI64,
    written: AtomicI64,
}

impl UseTimes {
    fn note(&self, now: i64) {
        if now - self.noted.load(Ordering::Relaxed) >= USE_PRECISION_S {
            self.noted.fetch_max(now, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Entry {
    identity: Arc<Identity>,
    /// For people; a key of the list has none.
    name: Option<Arc<str>>,
    hash: Hidden256,
    previous: Option<Previous>,
    expires_at: Option<Timestamp>,
    is_revoked: bool,
}

#[derive(Debug)]
pub(super) struct Keyring {
    hashing_key: Hidden256,
    entries: HashMap<Arc<str>, Entry>,
    /// Compared with where there is no such key, so that this takes the same time.
    nobody: Hidden256,
}

impl Keyring {
    /// Keys of the list replace those of the store with the same id. Records that cannot be read
    /// are left out.
    pub(super) fn new(
        hashing_key: Hidden256,
        records: &[KeyRecord],
        listed: &ListedKeys,
        accounts: &Accounts,
        before: Option<&Self>,
    ) -> Self {
        let uses = |id: &str| {
            let entry = before.and_then(|before| before.entries.get(id));
            entry.map_or_else(Arc::default, |entry| entry.identity.uses.clone())
        };
        let mut entries = HashMap::new();
        for record in records {
            let Ok(grants) = record.grants.read::<Grants>() else {
                tracing::warn!(key = %record.id, "cannot read an API key: it was made by another version of flowmill");
                continue;
            };
            let identity = Identity {
                id: record.id.clone(),
                account: accounts.limited(&record.id, grants.limits),
                grants,
                uses: uses(&record.id),
            };
            let entry = Entry {
                identity: Arc::new(identity),
                name: Some(record.name.clone()),
                hash: record.hash.clone(),
                previous: record.previous.clone(),
                expires_at: record.expires_at,
                is_revoked: record.revoked_at.is_some(),
            };
            entries.insert(record.id.clone(), entry);
        }
        for key in listed.iter() {
            let identity = Identity {
                id: key.id.clone(),
                account: accounts.limited(&key.id, key.grants.limits),
                grants: key.grants.clone(),
                uses: uses(&key.id),
            };
            let entry = Entry {
                identity: Arc::new(identity),
                name: None,
                hash: secret::hash(&hashing_key, key.digest.reveal()),
                previous: None,
                expires_at: None,
                is_revoked: false,
            };
            entries.insert(key.id.clone(), entry);
        }
        let nobody = secret::hash(&hashing_key, &[0; 32]);
        Self {
            hashing_key,
            entries,
            nobody,
        }
    }

    pub(super) fn name(&self, id: &str) -> Option<Arc<str>> {
        self.entries.get(id).and_then(|entry| entry.name.clone())
    }

    pub(super) fn hashing_key(&self) -> &Hidden256 {
        &self.hashing_key
    }

    pub(super) fn identify(&self, presented: &str, now: Timestamp) -> Option<Arc<Identity>> {
        let presented = if presented.len() > LONGEST {
            ""
        } else {
            presented
        };
        let entry = secret::parts(presented).and_then(|(id, _)| self.entries.get(id));
        let shown = secret::hash(&self.hashing_key, &secret::digest(presented));
        let current = entry.map_or(&self.nobody, |entry| &entry.hash);
        let previous = entry.and_then(|entry| entry.previous.as_ref());
        let is_current = same(&shown, current);
        let is_previous = same(&shown, previous.map_or(&self.nobody, |old| &old.hash))
            & Choice::from(u8::from(previous.is_some_and(|old| now < old.until)));
        let is_known = bool::from(is_current | is_previous);
        let entry = entry.filter(|entry| {
            is_known && !entry.is_revoked && entry.expires_at.is_none_or(|end| now < end)
        })?;
        entry.identity.uses.note(now.as_second());
        Some(entry.identity.clone())
    }

    pub(super) fn last_used(&self, id: &str) -> Option<Timestamp> {
        let noted = self
            .entries
            .get(id)?
            .identity
            .uses
            .noted
            .load(Ordering::Relaxed);
        Timestamp::from_second(noted).ok().filter(|_| noted > 0)
    }

    /// The uses that are not stored yet.
    pub(super) fn take_uses(&self) -> Vec<(Arc<str>, Timestamp)> {
        let mut taken = Vec::new();
        for (id, entry) in &self.entries {
            let uses = &entry.identity.uses;
            let noted = uses.noted.load(Ordering::Relaxed);
            if noted > uses.written.swap(noted, Ordering::Relaxed)
                && let Ok(at) = Timestamp::from_second(noted)
            {
                taken.push((id.clone(), at));
            }
        }
        taken
    }
}

fn same(one: &Hidden256, other: &Hidden256) -> Choice {
    one.reveal().ct_eq(other.reveal())
}
