//! Entity tags (RFC 9110, 8.8.3): a hash of the answer's bytes.

use axum::http::HeaderValue;
use axum::http::header::GetAll;

/// The tag of a body. The same on every replica and after a restart.
pub(crate) fn of(body: &[u8]) -> HeaderValue {
    // FNV-1a, 64 bits: stable, and quick enough for bodies of this size.
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    HeaderValue::try_from(format!("\"{hash:016x}\""))
        .expect("hexadecimal digits in quotes make a header value")
}

/// Whether `If-None-Match` lists the tag. A weak mark does not matter for this comparison.
pub(crate) fn is_among(tag: &HeaderValue, listed: &GetAll<'_, HeaderValue>) -> bool {
    let mut listed = listed
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    listed.any(|candidate| {
        candidate == "*"
            || candidate.strip_prefix("W/").unwrap_or(candidate).as_bytes() == tag.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use axum::http::header::IF_NONE_MATCH;

    use super::*;

    #[track_caller]
    fn check(listed: &'static str, expected: bool) {
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(listed))]);
        assert_eq!(
            is_among(
                &HeaderValue::from_static("\"a\""),
                &headers.get_all(IF_NONE_MATCH)
            ),
            expected,
            "{listed}"
        );
    }

    #[test]
    fn a_listed_tag_is_found() {
        check("\"a\"", true);
        check("W/\"a\"", true);
        check("\"b\", \"a\"", true);
        check("*", true);
        check("\"b\"", false);
        check("a", false);
    }

    #[test]
    fn the_tag_follows_the_bytes() {
        assert_eq!(of(b"x"), of(b"x"));
        assert_ne!(of(b"x"), of(b"y"));
    }
}
