//! `X-Request-Id`: the client's own if it is safe to log, otherwise a fresh `UUIDv7`. Every answer
//! carries it, and so do log lines about the request.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use engine::host::Host;

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted from a client, in bytes.
const LONGEST: usize = 128;

/// The request's id.
pub(crate) fn choose(headers: &HeaderMap, host: &dyn Host) -> HeaderValue {
    if let Some(given) = headers.get(HEADER).filter(|given| is_fit(given.as_bytes())) {
        return given.clone();
    }
    let mut buffer = uuid::Uuid::encode_buffer();
    let text = host.new_id().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).expect("hexadecimal digits and hyphens make a header value")
}

/// Letters, digits and a little punctuation: nothing that breaks a log line or a URL fragment.
fn is_fit(id: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_forge_log_lines_are_replaced() {
        assert!(is_fit(b"01JD-abc.def:7/8+9="));
        for id in [
            &b""[..],
            b"two words",
            b"a\tb",
            b"<script>",
            b"\xff",
            &[b'x'; 129],
        ] {
            assert!(!is_fit(id), "{id:?}");
        }
    }
}
