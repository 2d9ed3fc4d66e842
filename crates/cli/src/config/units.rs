//! Durations, sizes and amounts as people write them: `30s`, `1h 30m`, `10MB`, `2.50`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use lang::duration;
use serde::{Deserialize, Deserializer, de};

/// A duration above zero; a bare number is seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PositiveDuration(pub Duration);

/// A duration that may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DurationOrZero(pub Duration);

/// A number of bytes; `k`, `M` and `G` are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub usize);

impl FromStr for PositiveDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match duration::parse(text) {
            Some(duration) if !duration.is_zero() => Ok(Self(duration)),
            _ => Err(format!(
                "`{}` is not a valid duration: it must be greater than zero; write one such as 30s, 5m or 1h",
                text.trim()
            )),
        }
    }
}

impl FromStr for DurationOrZero {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        duration::parse(text).map(Self).ok_or_else(|| {
            format!(
                "`{}` is not a valid duration; write one such as 7d, 12h or 0",
                text.trim()
            )
        })
    }
}

/// A moment as people write it: a time, or a distance from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Relative(Duration),
}

impl Moment {
    /// `wanted` tells the user what to write instead of a text that is neither.
    pub(crate) fn parse(text: &str, wanted: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        text.parse()
            .map(|DurationOrZero(apart)| Self::Relative(apart))
            .map_err(|_| format!("`{text}` is not a time; write {wanted}"))
    }

    /// The moment, with distances counted back from `now`; not before the earliest timestamp.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Relative(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }

    /// The moment, with distances counted forward from `now`; not after the latest timestamp.
    pub(crate) fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Relative(ahead) => now.checked_add(ahead).unwrap_or(Timestamp::MAX),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => Some(1),
            "k" | "kb" | "kib" => Some(1 << 10),
            "m" | "mb" | "mib" => Some(1 << 20),
            "g" | "gb" | "gib" => Some(1 << 30),
            _ => None,
        };
        let bytes = number
            .parse::<usize>()
            .ok()
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor));
        bytes
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a size; write one such as 512kB or 10MB"))
    }
}

impl<'de> Deserialize<'de> for PositiveDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(TextOrNumber("a duration such as \"30s\""))
            .and_then(|text| text.parse().map_err(de::Error::custom))
    }
}

impl<'de> Deserialize<'de> for DurationOrZero {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(TextOrNumber("a duration such as \"7d\""))
            .and_then(|text| text.parse().map_err(de::Error::custom))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(TextOrNumber("a size such as \"10MB\""))
            .and_then(|text| text.parse().map_err(de::Error::custom))
    }
}

/// Reads a text or a number as text; holds what was expected.
struct TextOrNumber(&'static str);

impl de::Visitor<'_> for TextOrNumber {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

/// An amount of US dollars above 0.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Dollars(pub f64);

impl FromStr for Dollars {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.trim()
            .trim_start_matches('$')
            .parse()
            .ok()
            .filter(|amount: &f64| amount.is_finite() && *amount > 0.0)
            .map(Self)
            .ok_or_else(|| {
                format!("`{text}` is not an amount greater than 0; write US dollars such as 2.50")
            })
    }
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            let read = text
                .parse::<PositiveDuration>()
                .ok()
                .map(|time| time.0.as_millis());
            assert_eq!(read, expected.map(u128::from), "{text}");
        };
        check("30s", Some(30_000));
        check("5m", Some(300_000));
        check("1h", Some(3_600_000));
        check("1h 30m", Some(5_400_000));
        check("250ms", Some(250));
        check("7d", Some(604_800_000));
        check("1w", Some(604_800_000));
        check("1 month", None);
        check("30", Some(30_000));
        check("0.5", Some(500));
        check("0", None);
        check("-3s", None);
        check("soon", None);
        check("", None);
        check("inf", None);
        check("NaN", None);
    }

    #[test]
    fn ages_may_be_zero() {
        let check = |text: &str, expected: Option<u64>| {
            let read = text
                .parse::<DurationOrZero>()
                .ok()
                .map(|age| age.0.as_secs());
            assert_eq!(read, expected, "{text}");
        };
        check("0", Some(0));
        check("0s", Some(0));
        check("7d", Some(604_800));
        check("-1d", None);
        check("never", None);
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(
                text.parse::<Size>().ok().map(|size| size.0),
                expected,
                "{text}"
            );
        };
        check("1000", Some(1000));
        check("512kB", Some(512 * 1024));
        check("10 MB", Some(10 * 1024 * 1024));
        check("1GiB", Some(1 << 30));
        check("-1", None);
        check("1.5MB", None);
        check("99999999999999999999", None);
        check("10 apples", None);
    }

    #[test]
    fn amounts_are_above_zero() {
        for text in ["2.50", "$2.5", " 2.5"] {
            assert_eq!(text.parse(), Ok(Dollars(2.5)), "{text}");
        }
        for text in ["0", "-1", "NaN", "inf", "much", ""] {
            assert!(text.parse::<Dollars>().is_err(), "{text}");
        }
    }
}
