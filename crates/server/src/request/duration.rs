//! Durations as clients write them: `90` (seconds), `30s`, `5m`, `1h`, `1h30m`, `250ms`.

use std::time::Duration;

/// What [`parse`] takes and is longer than nothing, for JSON Schemas.
pub(crate) const PATTERN: &str = "^(0*[1-9][0-9]{0,9}|([0-9]{1,9}(ms|s|m|h|d))*0*[1-9][0-9]{0,8}(ms|s|m|h|d)([0-9]{1,9}(ms|s|m|h|d))*)$";

/// So many seconds; `None` where that is no time at all. Whatever nobody lives to see counts as
/// one.
pub(crate) fn of_seconds(seconds: f64) -> Option<Duration> {
    if seconds.is_nan() || seconds <= 0.0 {
        return None;
    }
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    Some(duration.max(Duration::from_nanos(1)))
}

/// The duration a text names; `None` where it names none, or one too long to count.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().ok()?;
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected_ms: Option<u64>) {
        assert_eq!(
            parse(text),
            expected_ms.map(Duration::from_millis),
            "{text:?}"
        );
    }

    #[test]
    fn durations_are_read() {
        check("90", Some(90_000));
        check(" 30s ", Some(30_000));
        check("5m", Some(300_000));
        check("1h", Some(3_600_000));
        check("2d", Some(172_800_000));
        check("1h30m", Some(5_400_000));
        check("250ms", Some(250));
        check("0", Some(0));
    }

    #[test]
    fn numbers_above_zero_are_durations() {
        assert_eq!(of_seconds(1.5), Some(Duration::from_millis(1_500)));
        assert_eq!(of_seconds(1e300), Some(Duration::MAX));
        assert_eq!(of_seconds(5e-324), Some(Duration::from_nanos(1)));
        for seconds in [0.0, -0.0, -1.0, f64::NAN] {
            assert_eq!(of_seconds(seconds), None, "{seconds}");
        }
    }

    /// Who keeps to the schema is not refused.
    #[test]
    fn what_the_pattern_has_is_parsed() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        let taken = |text: &str| parse(text).is_some_and(|duration| !duration.is_zero());
        for text in [
            "1",
            "007",
            "9999999999",
            "30s",
            "0d1ms",
            "1h0m",
            "999999999d999999999h",
        ] {
            assert!(pattern.is_match(text) && taken(text), "{text}");
        }
        for text in ["", "0", "0s", "00m0s", "1.5s", "-1", "1w", "1h 1m", "5m30"] {
            assert!(!pattern.is_match(text) && !taken(text), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_durations() {
        for text in [
            "",
            " ",
            "s",
            "5x",
            "-5",
            "1.5s",
            "5 m",
            "soon",
            "99999999999999999999",
            "9999999999999999999h",
        ] {
            check(text, None);
        }
    }
}
