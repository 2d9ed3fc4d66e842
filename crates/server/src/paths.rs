//! Paths of this API that answers lead to.

use std::fmt::Write as _;

use axum::http::HeaderValue;
use jobs::job::JobId;

/// `/workflows/{name}` with the name in it, percent-encoded.
pub(crate) fn named_prefix(name: &str) -> String {
    let mut path = String::from("/workflows/");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
    path
}

/// The path of a job.
pub(crate) fn location(id: JobId) -> String {
    format!("/status/{id}")
}

/// The path of a job, as the value of `Location`.
pub(crate) fn location_header(id: JobId) -> HeaderValue {
    HeaderValue::try_from(location(id))
        .expect("hexadecimal digits, hyphens and slashes make a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_in_paths() {
        assert_eq!(named_prefix("a b/ž"), "/workflows/a%20b%2F%C5%BE");
    }
}
