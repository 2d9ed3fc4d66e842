//! Integers beyond 64 bits in what a model or its server wrote. The JSON reader would silently
//! round them to doubles. As text they stay exact, and a reader that wants a number can report
//! them.

use std::borrow::Cow;

/// Digits of the shortest integer that may not fit.
const DIGITS: usize = 19;

/// The JSON with its integers beyond 64 bits in quotes. Borrowed if there are none, which takes a
/// look at every 19th byte.
pub(crate) fn as_text(json: &[u8]) -> Cow<'_, [u8]> {
    if !may_hold_one(json) {
        return Cow::Borrowed(json);
    }
    let mut text = Vec::with_capacity(json.len() + 16);
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let length = match byte {
            b'"' => string(&json[at..]),
            b'-' | b'0'..=b'9' => number(&json[at..]),
            _ => 1,
        };
        let token = &json[at..at + length];
        if is_large_integer(token) {
            text.push(b'"');
            text.extend_from_slice(token);
            text.push(b'"');
        } else {
            text.extend_from_slice(token);
        }
        at += length;
    }
    Cow::Owned(text)
}

/// Whether there is a row of digits that long. Every such row has one at a multiple of its length.
fn may_hold_one(json: &[u8]) -> bool {
    let is_digit = |at: &usize| json[*at].is_ascii_digit();
    let mut at = DIGITS - 1;
    while at < json.len() {
        if is_digit(&at) {
            let before = (0..at).rev().take(DIGITS).take_while(is_digit).count();
            let after = (at..json.len()).take(DIGITS).take_while(is_digit).count();
            if before + after >= DIGITS {
                return true;
            }
        }
        at += DIGITS;
    }
    false
}

/// Length of the string that begins here, quotes included.
fn string(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

/// Length of the number that begins here.
fn number(json: &[u8]) -> usize {
    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    json.iter().take_while(is_part).count()
}

fn is_large_integer(token: &[u8]) -> bool {
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    if digits.len() < DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let text = std::str::from_utf8(token).unwrap_or_default();
    text.parse::<i64>().is_err() && text.parse::<u64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let text = as_text(json.as_bytes());
        assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
    }

    #[test]
    fn an_integer_beyond_64_bits_becomes_text() {
        check(
            r#"{"id": 18446744073709551616, "n": [-9223372036854775809]}"#,
            r#"{"id": "18446744073709551616", "n": ["-9223372036854775809"]}"#,
        );
        check("99999999999999999999", "\"99999999999999999999\"");
    }

    #[test]
    fn what_fits_or_is_no_integer_stays() {
        for json in [
            "{}",
            "18446744073709551615",
            "-9223372036854775808",
            r#"{"a": "18446744073709551616", "b\"": "x 99999999999999999999"}"#,
            "18446744073709551616.5",
            "1e400",
            "123456789012345678901e2",
            r#""cut off 99999999999999999999"#,
            r#""cut off 99999999999999999999\"#,
        ] {
            check(json, json);
        }
    }

    #[test]
    fn a_row_of_digits_is_found_wherever_it_begins() {
        for before in 0..40 {
            let json = format!("[{}{}]", " ".repeat(before), "9".repeat(20));
            let expected = format!("[{}\"{}\"]", " ".repeat(before), "9".repeat(20));
            check(&json, &expected);
        }
    }
}
