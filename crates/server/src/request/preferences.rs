//! The `Prefer` header (RFC 7240): `wait=N` and `respond-async`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};

/// How long a client wants to wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// `wait=N`, in seconds.
    wait: Option<u64>,
    /// `respond-async`.
    respond_async: bool,
}

impl Preferences {
    /// Reads every `Prefer` header. As RFC 7240 says, the first of two equal preferences counts,
    /// and unknown ones are ignored.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut preferences = Self::default();
        for value in headers
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok())
        {
            for preference in split_outside_quotes(value, ',') {
                // The preferences that we know have no parameters.
                let Some(preference) = split_outside_quotes(preference, ';').next() else {
                    continue;
                };
                let (name, value) = match preference.split_once('=') {
                    Some((name, value)) => (name.trim(), value.trim().trim_matches('"')),
                    None => (preference.trim(), ""),
                };
                if name.eq_ignore_ascii_case("respond-async") {
                    preferences.respond_async = true;
                } else if name.eq_ignore_ascii_case("wait") && preferences.wait.is_none() {
                    preferences.wait = value.parse().ok();
                }
            }
        }
        preferences
    }

    /// How long to wait for the end: `wait`, capped; else not at all for `respond-async`; else
    /// `default`.
    pub(crate) fn wait_time(self, default: Duration, max: Duration) -> Duration {
        match self.wait {
            Some(seconds) => Duration::from_secs(seconds).min(max),
            None if self.respond_async => Duration::ZERO,
            None => default,
        }
    }

    /// Whether the answer is a handle even if the run has ended by then.
    pub(crate) fn is_async(self) -> bool {
        self.respond_async && self.wait.is_none()
    }

    /// `Preference-Applied`: the preferences that were heeded, `wait` with the value that was used.
    pub(crate) fn applied(self, max: Duration) -> Option<HeaderValue> {
        let wait = self
            .wait
            .map(|seconds| format!("wait={}", seconds.min(max.as_secs())));
        let text = match (self.respond_async, wait) {
            (false, None) => return None,
            (true, None) => return Some(HeaderValue::from_static("respond-async")),
            (false, Some(wait)) => wait,
            (true, Some(wait)) => format!("respond-async, {wait}"),
        };
        HeaderValue::try_from(text).ok()
    }
}

/// The parts between separators that stand outside of quoted strings.
fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut after_backslash = false;
    #[cfg(test)]
    testing::work::count(text.len());
    text.split(move |character| {
        let is_backslash = quoted && !after_backslash && character == '\\';
        if character == '"' && !after_backslash {
            quoted = !quoted;
        }
        after_backslash = is_backslash;
        character == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(60);

    #[track_caller]
    fn check(headers: &[&'static str], seconds: u64, applied: Option<&str>) {
        let headers: HeaderMap = headers
            .iter()
            .map(|value| {
                (
                    axum::http::HeaderName::from_static("prefer"),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let preferences = Preferences::read(&headers);
        assert_eq!(
            preferences.wait_time(Duration::from_secs(30), MAX),
            Duration::from_secs(seconds),
            "{headers:?}"
        );
        assert_eq!(
            preferences
                .applied(MAX)
                .as_ref()
                .map(|value| value.to_str().unwrap()),
            applied,
            "{headers:?}"
        );
    }

    #[test]
    fn without_a_preference_the_server_decides() {
        check(&[], 30, None);
        check(&["handling=lenient"], 30, None);
    }

    #[test]
    fn wait_is_heeded_and_capped() {
        check(&["wait=5"], 5, Some("wait=5"));
        check(&["WAIT = \"5\""], 5, Some("wait=5"));
        check(&["wait=0"], 0, Some("wait=0"));
        check(&["wait=3600"], 60, Some("wait=60"));
    }

    #[test]
    fn respond_async_answers_at_once_or_after_wait() {
        check(&["respond-async"], 0, Some("respond-async"));
        check(
            &["respond-async, wait=10"],
            10,
            Some("respond-async, wait=10"),
        );
        check(
            &["wait=10", "respond-async"],
            10,
            Some("respond-async, wait=10"),
        );
    }

    #[test]
    fn the_first_of_two_counts() {
        check(&["wait=5, wait=7"], 5, Some("wait=5"));
        check(&["wait=5", "wait=7"], 5, Some("wait=5"));
    }

    #[test]
    fn parameters_and_quoted_commas_do_not_confuse() {
        check(
            &["foo=\"a, wait=1\"; bar=\"x;y\", wait=5; z"],
            5,
            Some("wait=5"),
        );
        check(&["foo=\"a\\\", wait=1\", wait=6"], 6, Some("wait=6"));
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        check(&["wait=soon"], 30, None);
        check(&["wait=-1,,;"], 30, None);
    }
}
