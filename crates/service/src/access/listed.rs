//! A read-only list of keys, for containers: `KEY[:SCOPES[:WORKFLOWS]]`, separated by blanks or
//! commas. `KEY` is a whole key, or `fm_<id>_sha256-<the SHA-256 of the whole key in hexadecimal>`.
//! Scopes and workflows are joined with `+`.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

use jobs::key::Hidden256;

use super::grants::Grants;
use super::issuer::{KeyState, KeyView};
use super::secret;

const HASHED: &str = "sha256-";

/// Characters of a secret that a user chose. 43 can hold 256 random bits; 32 hexadecimal ones hold
/// 128.
const SHORTEST_SECRET: usize = 32;
const LONGEST_SECRET: usize = 256;

const LONGEST_ID: usize = 64;

/// The longest text that is repeated where it is not a scope.
const LONGEST_SCOPE: usize = 16;

/// One key of a list.
#[derive(Debug, Clone)]
pub struct ListedKey {
    pub(super) id: Arc<str>,
    pub(super) grants: Grants,
    /// SHA-256 of the whole key.
    pub(super) digest: Hidden256,
}

/// A whole list.
#[derive(Debug, Clone, Default)]
pub struct ListedKeys(Vec<ListedKey>);

/// What is wrong with a list. Repeats nothing of it except the number of a key and its id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {number}: {reason}")]
pub struct InvalidKeyList {
    number: usize,
    reason: String,
}

impl ListedKeys {
    /// Whether the list has no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key.
    pub fn iter(&self) -> impl Iterator<Item = &ListedKey> {
        self.0.iter()
    }

    /// The texts of a list, one per key.
    pub(crate) fn entries(text: &str) -> impl Iterator<Item = &str> {
        text.split(|character: char| character.is_whitespace() || character == ',')
            .filter(|entry| !entry.is_empty())
    }

    pub(super) fn names(&self, id: &str) -> bool {
        self.0.iter().any(|key| &*key.id == id)
    }

    pub(super) fn views(&self) -> impl Iterator<Item = KeyView> {
        self.0.iter().map(|key| KeyView {
            id: key.id.clone(),
            name: "(from the environment)".into(),
            state: KeyState::Active,
            grants: key.grants.clone(),
            created_at: None,
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
            previous_until: None,
        })
    }
}

impl FromStr for ListedKeys {
    type Err = InvalidKeyList;

    fn from_str(text: &str) -> Result<Self, InvalidKeyList> {
        let mut keys: Vec<ListedKey> = Vec::new();
        let mut ids = HashSet::new();
        for (number, entry) in (1..).zip(Self::entries(text)) {
            let unfit = |reason| InvalidKeyList { number, reason };
            let key = read(entry).map_err(unfit)?;
            #[cfg(test)]
            testing::work::count(entry.len());
            if !ids.insert(Arc::clone(&key.id)) {
                return Err(unfit(format!("the id `{}` appears twice", key.id)));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }
}

/// Long texts are not repeated: a user may have put another key in the place of a scope.
fn shown(scope: &str, reason: String) -> String {
    if scope.len() <= LONGEST_SCOPE {
        return reason;
    }
    "the part after the key is not a scope; the scopes are run, read, metrics and admin".to_owned()
}

fn read(entry: &str) -> Result<ListedKey, String> {
    let mut fields = entry.split(':');
    let key = fields.next().unwrap_or_default();
    let scopes = fields.next();
    let workflows = fields.next();
    if fields.next().is_some() {
        return Err("it has more than three parts; write KEY:SCOPES:WORKFLOWS".to_owned());
    }
    let (id, secret) = secret::parts(key).ok_or(
        "it is not a key; write fm_ID_SECRET, such as `echo fm_ci_$(openssl rand -hex 32)` prints",
    )?;
    let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(is_id) {
        return Err("its id may contain only lowercase letters, digits and hyphens".to_owned());
    }
    let in_key = |reason: &str| format!("`{id}`: {reason}");
    if workflows.is_some_and(|names| names.split('+').any(is_key)) {
        return Err(in_key("the part for names of workflows contains a key"));
    }
    let digest = if let Some(hexadecimal) = secret.strip_prefix(HASHED) {
        from_hexadecimal(hexadecimal).ok_or_else(|| {
            in_key("a hash must have 64 hexadecimal digits: `printf %s KEY | sha256sum`")
        })?
    } else {
        if !is_secret(secret) {
            return Err(in_key(
                "a secret must have 32 to 256 letters, digits, hyphens or underscores; create one with `openssl rand -hex 32`",
            ));
        }
        secret::digest(key)
    };
    let mut grants = Grants::default();
    if let Some(scopes) = scopes.filter(|scopes| !scopes.is_empty()) {
        grants.scopes = scopes
            .split('+')
            .map(|scope| scope.parse().map_err(|reason| shown(scope, reason)))
            .collect::<Result<_, String>>()
            .map_err(|reason| in_key(&reason))?;
    }
    grants.workflows = workflows.map(|names| {
        let names = names.split('+').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    });
    grants.check().map_err(in_key)?;
    Ok(ListedKey {
        id: id.into(),
        grants,
        digest: digest.into(),
    })
}

fn is_key(text: &str) -> bool {
    secret::parts(text).is_some_and(|(_, secret)| is_secret(secret))
}

fn is_secret(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (SHORTEST_SECRET..=LONGEST_SECRET).contains(&text.len()) && text.bytes().all(fits)
}

fn from_hexadecimal(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Scope;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn list(text: &str) -> Result<ListedKeys, InvalidKeyList> {
        text.replace("SECRET", SECRET).parse()
    }

    #[test]
    fn a_key_where_a_scope_should_be_is_not_repeated() {
        let secret = "0123456789abcdef".repeat(2);
        let list = format!("fm_a_{secret}:fm_b_{secret}");
        let unfit = list.parse::<ListedKeys>().unwrap_err().to_string();
        assert!(
            unfit.contains("not a scope") && !unfit.contains(&secret),
            "{unfit}"
        );
    }

    #[test]
    fn keys_have_scopes_and_workflows() {
        let keys =
            list("fm_ci_SECRET,fm_ops_SECRET:admin\n fm_web_SECRET:run:a+b  fm_all_SECRET::a")
                .unwrap();
        let read: Vec<_> = keys
            .iter()
            .map(|key| (&*key.id, key.grants.clone()))
            .collect();
        let workflows =
            |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let grants = |scopes: &[Scope], workflows| Grants {
            scopes: scopes.iter().copied().collect(),
            workflows,
            ..Grants::default()
        };
        assert_eq!(
            read,
            [
                ("ci", Grants::default()),
                ("ops", grants(&[Scope::Admin], None)),
                ("web", grants(&[Scope::Run], workflows(&["a", "b"]))),
                ("all", grants(&[Scope::Run, Scope::Read], workflows(&["a"]))),
            ]
        );
        assert!(list(" \n").unwrap().is_empty());
    }

    #[test]
    fn a_hash_is_that_of_the_whole_key() {
        let plain = list("fm_ci_SECRET").unwrap();
        // printf %s fm_ci_0123456789abcdef0123456789abcdef | sha256sum
        let hashed =
            list("fm_ci_sha256-18e980907b73cecf77642994ee77cce509af6b8819b41e48706c8c6e08db5702")
                .unwrap();
        let digest = |keys: &ListedKeys| *keys.0[0].digest.reveal();
        assert_eq!(digest(&plain), secret::digest(&format!("fm_ci_{SECRET}")));
        assert_eq!(digest(&hashed), digest(&plain));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        let check = |text: &str, part: &str| {
            let error = list(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(
                !error.contains("0123456789") && !error.contains("letmein"),
                "{error}"
            );
        };
        check("letmein", "key 1: it is not a key");
        check(
            "fm_ci_SECRET fm_a_letmein",
            "key 2: `a`: a secret must have 32 to 256",
        );
        check("fm_CI_SECRET", "lowercase letters");
        check("fm__SECRET", "lowercase letters");
        check("fm_ci_SECRET:write", "`write` is not a scope");
        check("fm_ci_SECRET:admin:a", "cannot be restricted");
        check("fm_ci_SECRET:run:", "at least one");
        check("fm_ci_SECRET:run:a:b", "more than three parts");
        check(
            "fm_ci_SECRET:run:a+fm_b_SECRET",
            "names of workflows contains a key",
        );
        check("fm_ci_sha256-letmein", "64 hexadecimal digits");
        check(
            "fm_ci_SECRET fm_ci_SECRET",
            "key 2: the id `ci` appears twice",
        );
    }
}
