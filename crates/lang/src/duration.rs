//! Durations as people write them: `90` (seconds), `0.5`, `30s`, `5m`, `1h 30m`, `250ms`, `7d`.
//! Options, settings and HTTP headers are all read by this one grammar.

use std::time::Duration;

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const SECOND: u128 = NANOS_PER_SECOND;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;
/// A day is 24 hours, whatever clocks are set to.
const DAY: u128 = 24 * HOUR;
const WEEK: u128 = 7 * DAY;

/// The duration that a text names: a number of seconds, or numbers with units, one after the other
/// or with blanks or commas between them. ISO 8601 (`PT1H30M`) is read as well. `None` where the
/// text is no duration, is below zero, or is too long to count.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if text.bytes().all(is_number) {
        return times(text, SECOND);
    }
    let Some(iso) = text.strip_prefix(['P', 'p']) else {
        return sum(text, nanos_of_unit);
    };
    match iso.split_once(['T', 't']) {
        None => sum(iso, nanos_of_iso_date),
        Some(("", time)) => sum(time, nanos_of_iso_time),
        Some((date, time)) => {
            sum(date, nanos_of_iso_date)?.checked_add(sum(time, nanos_of_iso_time)?)
        }
    }
}

/// Numbers with units, at least one; `nanos_of` tells how long a unit is.
fn sum(text: &str, nanos_of: impl Fn(&str) -> Option<u128>) -> Option<Duration> {
    let mut total = None;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))?;
        let (number, tail) = rest.split_at(unit_at);
        let tail = tail.trim_start();
        let end = tail
            .find(|letter: char| !letter.is_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let part = times(number, nanos_of(unit)?)?;
        total = Some(total.unwrap_or(Duration::ZERO).checked_add(part)?);
        let tail = tail.trim_start();
        rest = match tail.strip_prefix(',').map(str::trim_start) {
            // A comma stands between two parts.
            Some("") => return None,
            Some(after) => after,
            None => tail,
        };
    }
    total
}

/// So many of a unit; the number may have a fraction.
fn times(number: &str, unit_nanos: u128) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let read = |digits: &str| match digits {
        "" => Some(0),
        digits => digits.parse::<u64>().ok(),
    };
    let whole = read(whole)?;
    // Beyond nine digits nothing that counts is left.
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let share = read(fraction)?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let nanos = u128::from(whole) * unit_nanos + u128::from(share) * unit_nanos / scale;
    let seconds = u64::try_from(nanos / NANOS_PER_SECOND).ok()?;
    let below = u32::try_from(nanos % NANOS_PER_SECOND).ok()?;
    Some(Duration::new(seconds, below))
}

fn nanos_of_unit(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" => SECOND / 1_000_000,
        "ms" | "msec" | "msecs" | "milli" | "millis" | "millisecond" | "milliseconds" => {
            SECOND / 1_000
        }
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "wk" | "wks" | "week" | "weeks" => WEEK,
        _ => return None,
    })
}

fn nanos_of_iso_date(unit: &str) -> Option<u128> {
    match unit {
        "W" | "w" => Some(WEEK),
        "D" | "d" => Some(DAY),
        _ => None,
    }
}

fn nanos_of_iso_time(unit: &str) -> Option<u128> {
    match unit {
        "H" | "h" => Some(HOUR),
        "M" | "m" => Some(MINUTE),
        "S" | "s" => Some(SECOND),
        _ => None,
    }
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
    fn a_number_alone_is_seconds() {
        check("90", Some(90_000));
        check("007", Some(7_000));
        check("0", Some(0));
        check("0.5", Some(500));
        check(".5", Some(500));
        check(" 30 ", Some(30_000));
    }

    #[test]
    fn parts_with_units_are_added_up() {
        check("250ms", Some(250));
        check(" 30s ", Some(30_000));
        check("5m", Some(300_000));
        check("2d", Some(172_800_000));
        check("1w", Some(604_800_000));
        check("1h30m", Some(5_400_000));
        check("1h 30m", Some(5_400_000));
        check("1 hour, 30 minutes", Some(5_400_000));
        check("1.5h", Some(5_400_000));
        check("0.0005s 1500us 8000000ns", Some(10));
    }

    #[test]
    fn iso_durations_are_read() {
        check("PT1H30M", Some(5_400_000));
        check("P1DT0.5S", Some(86_400_500));
        check("p2w", Some(1_209_600_000));
        for text in ["P", "PT", "P1DT", "P1M", "P1H", "PT1D"] {
            check(text, None);
        }
    }

    #[test]
    fn other_texts_are_no_durations() {
        for text in [
            "",
            " ",
            "s",
            "5x",
            "-5",
            "-3s",
            "5m30",
            "1h,",
            ",1h",
            "1h,,30m",
            "1..5s",
            "1.1234567890.5",
            ".s",
            ".",
            "+5",
            "1e3",
            "1 month",
            "soon",
            "inf",
            "NaN",
            "1e300",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn what_is_too_long_to_count_is_no_duration() {
        check("99999999999999999999", None);
        check("9999999999999999999h", None);
        check("18446744073709551615s 1s", None);
        check(
            "999999999d999999999h",
            Some((999_999_999 * 24 + 999_999_999) * 3_600_000),
        );
    }
}
