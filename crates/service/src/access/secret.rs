//! Keys as text: `fm_<id>_<secret>`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jobs::key::Hidden256;
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "fm_";

/// A source of unpredictable bits: the system's own generator.
pub trait SecretSource: Send + Sync + fmt::Debug {
    /// 256 random bits.
    fn secret(&self) -> [u8; 32];
}

/// A whole key. Shown once, to the caller that created it, and never printed otherwise.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// From an id and a fresh secret.
    pub(super) fn new(id: &str, secret: [u8; 32]) -> Self {
        Self(format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret)))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Id and secret of a text that looks like a key.
pub(super) fn parts(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(PREFIX)?.split_once('_')
}

/// What a list may hold in place of a key. It needs no salt: a key holds 256 random bits.
pub(super) fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// What is stored of a key.
pub(super) fn hash(hashing_key: &Hidden256, digest: &[u8; 32]) -> Hidden256 {
    let mut mac = Hmac::<Sha256>::new_from_slice(hashing_key.reveal())
        .expect("HMAC takes a key of any length");
    mac.update(digest);
    Hidden256::from(<[u8; 32]>::from(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_an_id_and_all_bits_of_its_secret() {
        let key = ApiKey::new("abc", [0xff; 32]);
        let (id, secret) = parts(key.reveal()).unwrap();
        assert_eq!(id, "abc");
        assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap(), [0xff; 32]);
        assert_ne!(key.reveal(), ApiKey::new("abc", [0xfe; 32]).reveal());
    }

    #[test]
    fn a_key_is_not_printed() {
        let key = ApiKey::new("abc", [1; 32]);
        assert_eq!(format!("{key:?}"), "(hidden)");
    }

    #[test]
    fn hashes_depend_on_what_they_are_keyed_with() {
        let hashed = |key: u8| *hash(&[key; 32].into(), &digest("fm_a_b")).reveal();
        assert_eq!(hashed(1), hashed(1));
        assert_ne!(hashed(1), hashed(2));
    }
}
