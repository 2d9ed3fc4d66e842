//! Signatures of Standard Webhooks: `v1,` and the base64 of HMAC-SHA256 over id, time and body.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The start of every secret.
const PREFIX: &str = "whsec_";

/// Bytes of a key, as the standard bounds them.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// The key that messages are signed with. It is never printed.
#[derive(Clone)]
pub struct Key(Arc<[u8]>);

/// A text is not a secret. Repeats nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not a webhook secret; write `whsec_` and the base64 of 24 to 64 random bytes, \
     such as `openssl rand -base64 32` prints"
)]
pub struct BadSecret;

impl Key {
    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl FromStr for Key {
    type Err = BadSecret;

    fn from_str(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(BadSecret)?;
        let key = STANDARD.decode(encoded).map_err(|_| BadSecret)?;
        if LENGTHS.contains(&key.len()) {
            Ok(Self(key.into()))
        } else {
            Err(BadSecret)
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::{BadSecret, Key};

    /// 32 bytes.
    const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_signature_covers_id_time_and_body() {
        let key: Key = SECRET.parse().unwrap();
        let sign = |id, seconds, body: &str| key.sign(id, seconds, body.as_bytes());
        let signed = sign("msg_1", 1_800_000_000, r#"{"a":1}"#);
        // Found with Python's hmac module.
        assert_eq!(signed, "v1,phm7mOHwFDU6jBwBkmhF3Cqd0H0Nz7MaiOdih/irqbk=");
        assert_ne!(signed, sign("msg_2", 1_800_000_000, r#"{"a":1}"#));
        assert_ne!(signed, sign("msg_1", 1_800_000_001, r#"{"a":1}"#));
        assert_ne!(signed, sign("msg_1", 1_800_000_000, r#"{"a":2}"#));
    }

    #[test]
    fn only_a_secret_of_the_standards_form_is_taken() {
        let check = |text: &str, good: bool| {
            assert_eq!(text.parse::<Key>().map(|_| ()).is_ok(), good, "{text}");
        };
        let of = |bytes: usize| {
            use base64::Engine as _;
            let key = vec![7; bytes];
            format!(
                "whsec_{}",
                base64::engine::general_purpose::STANDARD.encode(key)
            )
        };
        check(SECRET, true);
        check(&of(24), true);
        check(&of(64), true);
        check(&of(23), false);
        check(&of(65), false);
        check(SECRET.trim_start_matches("whsec_"), false);
        check(SECRET.trim_end_matches('='), false);
        check("whsec_", false);
        check("whsec_not base64 at all, is it?", false);
        check("", false);
        assert!(!BadSecret.to_string().is_empty());
    }

    #[test]
    fn a_key_is_not_printed() {
        let key: Key = SECRET.parse().unwrap();
        assert_eq!(format!("{key:?}"), "(hidden)");
    }
}
