//! `Retry-After`: seconds or a date, and the more exact `retry-after-ms` some providers add.

use std::time::Duration;

use hyper::header::{DATE, HeaderMap, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// A date is measured against the answer's own `Date`, so that no clock is needed and skew does not
/// matter.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = |value: Option<&hyper::header::HeaderValue>| {
        value
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
            .map(str::to_owned)
    };
    if let Some(milliseconds) =
        text(headers.get("retry-after-ms")).and_then(|text| text.parse::<f64>().ok())
    {
        return Duration::try_from_secs_f64(milliseconds / 1_000.0).ok();
    }
    let asked = text(headers.get(RETRY_AFTER))?;
    if let Ok(seconds) = asked.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = http_date(&asked)?;
    let now = http_date(&text(headers.get(DATE))?)?;
    Some(
        until
            .duration_since(now)
            .try_into()
            .unwrap_or(Duration::ZERO),
    )
}

fn http_date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected_ms: Option<u64>) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        assert_eq!(read(&headers), expected_ms.map(Duration::from_millis));
    }

    #[test]
    fn seconds() {
        check(&[("retry-after", "2")], Some(2_000));
        check(&[("retry-after", " 0.25 ")], Some(250));
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "soon")], None);
        check(&[], None);
    }

    #[test]
    fn milliseconds_win() {
        check(
            &[("retry-after", "2"), ("retry-after-ms", "1500")],
            Some(1_500),
        );
    }

    #[test]
    fn dates_count_from_the_answers_own_date() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        check(
            &[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), date],
            Some(30_000),
        );
        check(
            &[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), date],
            Some(0),
        );
        check(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], None);
    }
}
