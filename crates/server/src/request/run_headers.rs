//! The headers that say how a run is to be handled: `Prefer`, `Cancel-After`, `Idempotency-Key`.
//! These are headers because the body of `POST /run` is the workflow's inputs and nothing else.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::request::preferences::Preferences;
use crate::views::fault::{FaultEntry, ParameterLocation};

/// The longest key, in characters.
const LONGEST_KEY: usize = 255;

/// The rules of `Idempotency-Key` as a JSON Schema. Blanks at either end are not part of a header's
/// value.
pub(crate) fn key_rules() -> Value {
    json!({ "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$" })
}

/// How a run is to be handled.
#[derive(Debug, Default)]
pub(crate) struct RunHeaders {
    pub(crate) preferences: Preferences,
    /// The run's deadline, counted from its acceptance.
    pub(crate) cancel_after: Option<Duration>,
    pub(crate) idempotency_key: Option<String>,
}

impl RunHeaders {
    /// Reads the headers. Every fault is in the one refusal.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut faults = Vec::new();
        let run_headers = Self {
            preferences: Preferences::read(headers),
            cancel_after: cancel_after(headers, &mut faults),
            idempotency_key: read_key(headers, &mut faults),
        };
        if faults.is_empty() {
            Ok(run_headers)
        } else {
            Err(Refusal::Invalid(faults))
        }
    }
}

fn cancel_after(headers: &HeaderMap, faults: &mut Vec<FaultEntry>) -> Option<Duration> {
    let text = String::from_utf8_lossy(headers.get("cancel-after")?.as_bytes());
    let deadline = lang::duration::parse(&text).filter(|deadline| !deadline.is_zero());
    if deadline.is_none() {
        let message =
            "Input should be a duration greater than zero, such as 30s, 5m, 1h 30m or 90 (seconds)";
        faults.push(FaultEntry::parameter(
            ParameterLocation::Header,
            "cancel-after",
            "duration_parsing",
            message,
            &text,
        ));
    }
    deadline
}

/// Reads `Idempotency-Key` alone.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut faults = Vec::new();
    let key = read_key(headers, &mut faults);
    if faults.is_empty() {
        Ok(key)
    } else {
        Err(Refusal::Invalid(faults))
    }
}

fn read_key(headers: &HeaderMap, faults: &mut Vec<FaultEntry>) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get("idempotency-key")?.as_bytes());
    // The draft of the standard has a quoted string; most clients send the bare key.
    let key = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(&text);
    let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(is_plain) {
        return Some(key.to_owned());
    }
    let message = format!("Input should be 1 to {LONGEST_KEY} printable ASCII characters");
    faults.push(FaultEntry::parameter(
        ParameterLocation::Header,
        "idempotency-key",
        "string_pattern_mismatch",
        message,
        &text,
    ));
    None
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<RunHeaders, Refusal> {
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        RunHeaders::read(&headers.collect())
    }

    #[track_caller]
    fn check_faults(headers: &[(&'static str, &str)], expected: usize) {
        match read(headers) {
            Err(Refusal::Invalid(faults)) => assert_eq!(faults.len(), expected, "{headers:?}"),
            other => panic!("{headers:?}: {other:?}"),
        }
    }

    #[test]
    fn a_run_is_steered_by_headers() {
        let run_headers = read(&[("cancel-after", "5m"), ("idempotency-key", "\"a-1\"")]).unwrap();
        assert_eq!(run_headers.cancel_after, Some(Duration::from_mins(5)));
        assert_eq!(run_headers.idempotency_key.as_deref(), Some("a-1"));
    }

    #[test]
    fn deadlines_are_written_as_everywhere_else() {
        let check = |text: &str, seconds: u64| {
            let deadline = read(&[("cancel-after", text)]).unwrap().cancel_after;
            assert_eq!(deadline, Some(Duration::from_secs(seconds)), "{text}");
        };
        check("90", 90);
        check("1h 30m", 5_400);
        check("1.5h", 5_400);
        check("1w", 604_800);
    }

    #[test]
    fn every_faulty_header_is_named() {
        check_faults(&[("cancel-after", "soon")], 1);
        check_faults(&[("cancel-after", "0s")], 1);
        check_faults(&[("idempotency-key", "")], 1);
        check_faults(&[("idempotency-key", &"x".repeat(256))], 1);
        check_faults(&[("cancel-after", "soon"), ("idempotency-key", "")], 2);
    }
}
