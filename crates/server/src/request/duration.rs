//! Durations as clients write them: texts as [`lang::duration`] reads them, or a number of seconds.

use std::time::Duration;

/// The usual forms of durations above zero, for JSON Schemas. More is read than that.
pub(crate) const PATTERN: &str = r"^(0*[1-9][0-9]{0,18}(\.[0-9]+)?|0\.[1-9][0-9]*|([0-9]{1,9}(\.[0-9]+)?(ms|s|m|h|d|w) ?)*0*[1-9][0-9]{0,8}(\.[0-9]+)?(ms|s|m|h|d|w)( ?[0-9]{1,9}(\.[0-9]+)?(ms|s|m|h|d|w))*)$";

/// A number of seconds as a duration; `None` unless it is greater than zero. One too long to count
/// is the longest duration.
pub(crate) fn of_seconds(seconds: f64) -> Option<Duration> {
    if seconds.is_nan() || seconds <= 0.0 {
        return None;
    }
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    Some(duration.max(Duration::from_nanos(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_above_zero_are_durations() {
        assert_eq!(of_seconds(1.5), Some(Duration::from_millis(1_500)));
        assert_eq!(of_seconds(1e300), Some(Duration::MAX));
        assert_eq!(of_seconds(5e-324), Some(Duration::from_nanos(1)));
        for seconds in [0.0, -0.0, -1.0, f64::NAN] {
            assert_eq!(of_seconds(seconds), None, "{seconds}");
        }
    }

    /// What keeps to the schema is not refused.
    #[test]
    fn what_the_pattern_has_is_parsed() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        let taken =
            |text: &str| lang::duration::parse(text).is_some_and(|duration| !duration.is_zero());
        for text in [
            "1",
            "007",
            "9999999999",
            "30s",
            "0d1ms",
            "1h0m",
            "1h 30m",
            "0.5",
            "1.5757575757575757",
            "9223372036854775807",
            "1.5s",
            "2w",
            "90.25",
            "999999999d999999999h",
        ] {
            assert!(pattern.is_match(text) && taken(text), "{text}");
        }
        for text in ["", "0", "0.0", "0s", "00m0s", "-1", "5m30", "1h,", "soon"] {
            assert!(!pattern.is_match(text) && !taken(text), "{text}");
        }
    }
}
