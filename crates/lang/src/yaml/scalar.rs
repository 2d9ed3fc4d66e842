//! What an unquoted scalar means: the rules of YAML 1.1 as `PyYAML`'s safe loader applies them.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Number;

use super::node::Data;

/// An unquoted scalar's meaning.
#[derive(Debug, PartialEq)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    Number(Number),
    /// An integer beyond 64 bits.
    TooLarge,
    /// Infinity, not-a-number, or a float beyond a double.
    NonFinite,
    Date,
    Merge,
    Text,
}

impl Plain {
    /// The scalar as data; `None` where it is text, and for what data cannot hold.
    pub(super) fn into_data(self, text: &str) -> Option<Data> {
        Some(match self {
            Self::Null => Data::Null,
            Self::Bool(value) => Data::Bool(value),
            Self::Number(number) => Data::Number(number),
            Self::NonFinite => Data::NonFinite,
            Self::Date => Data::Date(text.to_owned()),
            Self::TooLarge | Self::Merge | Self::Text => return None,
        })
    }
}

/// Decides an unquoted scalar.
pub(super) fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Plain::Bool(true);
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Plain::Bool(false);
        }
        "<<" => return Plain::Merge,
        _ => {}
    }
    // Everything else that is not text starts like a number.
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.')) {
        return Plain::Text;
    }
    if FLOAT.is_match(text) {
        return float(text);
    }
    if INT.is_match(text) {
        return int(text);
    }
    if DATE.is_match(text) {
        return Plain::Date;
    }
    Plain::Text
}

/// Decimal with a point (an exponent needs a sign), base 60 with a point, or one of the words.
static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?",
        r"|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?",
        r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*",
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    ))
});

/// Binary, octal, decimal, hexadecimal or base 60.
static INT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+",
        r"|[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
    ))
});

/// A date, or a date and time.
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^[0-9]{4}-(?:[0-9]{2}-[0-9]{2}",
        r"|[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?",
        r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)$",
    ))
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant and valid")
}

fn float(text: &str) -> Plain {
    let digits = text.replace('_', "").to_ascii_lowercase();
    if digits.ends_with("inf") || digits.ends_with("nan") {
        return Plain::NonFinite;
    }
    let (negative, digits) = sign(&digits);
    let parsed = digits.split(':').try_fold(0.0_f64, |sum, part| {
        Some(sum.mul_add(60.0, part.parse::<f64>().ok()?))
    });
    match parsed {
        Some(value) => Number::from_f64(if negative { -value } else { value })
            .map_or(Plain::NonFinite, Plain::Number),
        None => Plain::Text,
    }
}

fn int(text: &str) -> Plain {
    let digits = text.replace('_', "");
    let (negative, digits) = sign(&digits);
    let magnitude = if let Some(binary) = digits.strip_prefix("0b") {
        radix(binary, 2)
    } else if let Some(hex) = digits.strip_prefix("0x") {
        radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        radix(&digits[1..], 8)
    } else {
        digits.split(':').try_fold(0_i128, |sum, part| {
            sum.checked_mul(60)?.checked_add(part.parse::<i128>().ok()?)
        })
    };
    if digits
        .trim_start_matches("0b")
        .trim_start_matches("0x")
        .is_empty()
    {
        // Nothing but a prefix and underscores.
        return Plain::Text;
    }
    let value = magnitude.map(|value| if negative { -value } else { value });
    match value {
        Some(value) => Number::from_i128(value).map_or(Plain::TooLarge, Plain::Number),
        None => Plain::TooLarge,
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn radix(digits: &str, radix: u32) -> Option<i128> {
    i128::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &Plain) {
        assert_eq!(plain(text), *expected, "{text}");
    }

    #[track_caller]
    fn number(text: &str, expected: f64) {
        let Plain::Number(number) = plain(text) else {
            panic!("{text} is {:?}", plain(text))
        };
        assert_eq!(number.as_f64(), Some(expected), "{text}");
        assert_eq!(number.is_f64(), text.contains('.'), "{text}");
    }

    #[test]
    fn words() {
        for text in ["", "~", "null", "NULL"] {
            check(text, &Plain::Null);
        }
        for text in ["yes", "On", "TRUE"] {
            check(text, &Plain::Bool(true));
        }
        for text in ["no", "Off", "FALSE"] {
            check(text, &Plain::Bool(false));
        }
        for text in ["y", "n", "yEs", "nULL", "none", "None", "=", "<", "<<<"] {
            check(text, &Plain::Text);
        }
        check("<<", &Plain::Merge);
    }

    #[test]
    fn integers() {
        number("0", 0.0);
        number("-12", -12.0);
        number("+1_000", 1000.0);
        number("010", 8.0);
        number("-0_7", -7.0);
        number("0x1F", 31.0);
        number("0b1_01", 5.0);
        number("1:30", 90.0);
        number("-1:00:00", -3600.0);
        check("18446744073709551615", &Plain::Number(u64::MAX.into()));
        check("18446744073709551616", &Plain::TooLarge);
        check(&"9".repeat(200), &Plain::TooLarge);
        for text in [
            "08", "0o7", "0x", "0b_", "0x_", "1:60", "12a", "- 1", "1__a", "0b2", "+",
        ] {
            check(text, &Plain::Text);
        }
    }

    #[test]
    fn floats() {
        number("1.0", 1.0);
        number("1.", 1.0);
        number(".5", 0.5);
        number("1_0.2_5", 10.25);
        number("1.5e+3", 1500.0);
        number("1:30.5", 90.5);
        check("-.inf", &Plain::NonFinite);
        check(".NaN", &Plain::NonFinite);
        check("1.0e+999", &Plain::NonFinite);
        for text in [
            "1e3", "-.5", "1.5e3", "1.2.3", ".", "-", ".iNf", "-.nan", "1,5",
        ] {
            check(text, &Plain::Text);
        }
    }

    #[test]
    fn dates() {
        for text in [
            "2024-01-02",
            "2024-1-2 3:04:05",
            "2024-01-02T03:04:05.6Z",
            "2001-12-14t21:59:43.10-05:00",
        ] {
            check(text, &Plain::Date);
        }
        for text in ["2024-1-2", "2024-01", "12:30:00x", "2024-01-02T03:04"] {
            check(text, &Plain::Text);
        }
    }
}
