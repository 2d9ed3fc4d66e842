//! The `Accept` header (RFC 9110, 12.5.1), as far as this API heeds it: media types that a client
//! names explicitly. Wildcards are ignored.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

pub(crate) const PROBLEM: &str = "application/problem+json";
pub(crate) const EVENTS: &str = "text/event-stream";
pub(crate) const HTML: &str = "text/html";
pub(crate) const JSON: &str = "application/json";

/// Whether the client names this media type and does not rule it out with `q=0`.
pub(crate) fn names(headers: &HeaderMap, media_type: &str) -> bool {
    quality(headers, media_type) > 0.0
}

/// Whether the client names `media_type`, and prefers it to `other`.
pub(crate) fn prefers(headers: &HeaderMap, media_type: &str, other: &str) -> bool {
    let quality_wanted = quality(headers, media_type);
    quality_wanted > 0.0 && quality_wanted >= quality(headers, other)
}

/// The highest `q` that the client gives a media type by name; 0 if it does not name it.
fn quality(headers: &HeaderMap, media_type: &str) -> f32 {
    let ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(media_type) {
                return None;
            }
            let quality = parts.find_map(|parameter| {
                parameter
                    .strip_prefix("q=")
                    .or_else(|| parameter.strip_prefix("Q="))
            });
            Some(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
        })
        .fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))])
    }

    #[track_caller]
    fn check_html(value: &'static str, expected: bool) {
        assert_eq!(
            prefers(&accept(value), HTML, JSON),
            expected,
            "Accept: {value}"
        );
    }

    #[test]
    fn browser_gets_the_page() {
        check_html(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            true,
        );
        check_html("Text/HTML", true);
    }

    #[test]
    fn others_get_json() {
        check_html("*/*", false);
        check_html("application/json", false);
        check_html("application/json, text/html;q=0.5", false);
        check_html("text/html;q=0", false);
        check_html("text/html;q=x", false);
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = accept("text/plain");
        headers.append(ACCEPT, HeaderValue::from_static("application/problem+json"));
        assert!(names(&headers, PROBLEM));
        assert!(!names(&headers, EVENTS));
    }
}
