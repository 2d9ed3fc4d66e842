//! A text that is sent and never shown.

use std::fmt;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Shorter keys, such as `x` or `EMPTY` for servers that want any key, are not secret, and are part
/// of ordinary words.
const MIN_MASKED: usize = 8;

/// Replaces a secret.
const MASK: &str = "***";

/// Left as they are by RFC 3986, and by everything that encodes less.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A key, or something equivalent. It is neither printed nor serialized;
/// [`Subject`](crate::transport::failure::Subject) masks it in answers that repeat it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<str>);

impl Secret {
    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// The text with the secret masked, also where it is URL-encoded or part of something in
    /// base64.
    pub(crate) fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in self.forms() {
            if text.contains(&form) {
                text = text.replace(&form, MASK);
            }
        }
        text
    }

    /// Whether a text holds the secret in any form.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.forms().iter().any(|form| text.contains(form))
    }

    /// As it may be repeated, the longest first: none can be part of what another one leaves.
    fn forms(&self) -> Vec<String> {
        let plain = &*self.0;
        if plain.len() < MIN_MASKED {
            return Vec::new();
        }
        let encoded = utf8_percent_encode(plain, UNRESERVED).to_string();
        let all = utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string();
        let mut forms = vec![
            plain.to_owned(),
            lower_hex(&encoded),
            lower_hex(&all),
            encoded,
            all,
        ];
        // Whatever stands before it: in base64, three letters stand for four.
        for before in 0..3 {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(plain.as_bytes());
            for code in [&BASE64_STANDARD, &BASE64_URL_SAFE] {
                let text = code.encode(&bytes);
                let text = text.trim_end_matches('=');
                // The first and the last of them may stand for neighbours as well.
                let first = (before * 4).div_ceil(3);
                let last = text.len() - usize::from(bytes.len() % 3 != 0);
                forms.extend(text.get(first..last).map(str::to_owned));
            }
        }
        forms.retain(|form| form.len() >= MIN_MASKED);
        forms.sort_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        forms.dedup();
        forms
    }
}

/// `%2B` as `%2b`.
fn lower_hex(encoded: &str) -> String {
    let mut digits = 0;
    let lower = |character: char| {
        if character == '%' {
            digits = 2;
            return character;
        }
        if digits == 0 {
            return character;
        }
        digits -= 1;
        character.to_ascii_lowercase()
    };
    encoded.chars().map(lower).collect()
}

impl<T: Into<Box<str>>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_printed() {
        assert_eq!(
            format!("{:?}", Some(Secret::from("sk-1"))),
            "Some((hidden))"
        );
    }

    #[track_caller]
    fn check(secret: &str, text: &str, expected: &str) {
        let secret = Secret::from(secret);
        assert_eq!(secret.mask(text), expected);
        assert_eq!(secret.is_in(text), text != expected);
    }

    #[test]
    fn a_key_that_is_no_secret_is_not_masked_out_of_sentences() {
        check("x", "next: fix the prefix", "next: fix the prefix");
        check("EMPTY", "EMPTY input", "EMPTY input");
        check("", "nothing", "nothing");
    }

    #[test]
    fn a_key_is_masked_url_encoded() {
        let key = "sk+a/b=c-d_e";
        check(key, "?key=sk%2Ba%2Fb%3Dc-d_e&x", "?key=***&x");
        check(key, "?key=sk%2ba%2fb%3dc-d_e&x", "?key=***&x");
        check(key, "?key=sk%2Ba%2Fb%3Dc%2Dd%5Fe", "?key=***");
        check(key, "key sk+a/b=c-d_e.", "key ***.");
    }

    #[test]
    fn a_key_is_masked_in_base64_wherever_it_begins() {
        let key = "sk-letmein-0123456789";
        for before in ["", "u", "us", "use", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let pair = BASE64_STANDARD.encode(format!("{before}{key}{after}"));
                let masked = Secret::from(key).mask(&format!("Basic {pair} was refused"));
                assert!(masked.contains("***"), "{before} {after}: {masked}");
                let rest = masked.replace("***", "").len();
                assert!(rest < "Basic  was refused".len() + 24, "{masked}");
            }
        }
        let key = "k>>>???~~~key\u{ff}";
        let pair = BASE64_URL_SAFE.encode(key);
        assert!(Secret::from(key).is_in(&pair));
    }
}
