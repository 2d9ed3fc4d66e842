//! Durations as clients write them: `90` (seconds), `30s`, `5m`, `1h`, `1h30m`, `250ms`.

use std::time::Duration;

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
