//! Samples against what was really printed. Values change from run to run, so what has to be the
//! same are the names, the kinds of values, and texts and truth values that hold no `…`.

use serde_json::Value;

use super::read_sample;

pub(super) fn is_json(printed: &str) -> bool {
    serde_json::from_str::<Value>(printed.trim()).is_ok()
}

pub(super) fn compare_json(sample: &str, printed: &str) -> Result<(), String> {
    let printed: Value = serde_json::from_str(printed.trim())
        .map_err(|error| format!("what is printed is not JSON: {error}\n{printed}"))?;
    compare(&read_sample(sample)?, &printed, "").map_err(|problem| format!("{problem}\n{printed}"))
}

/// A head of `Name: value` lines, and a body of JSON behind an empty line. Of numbers and of random
/// words in values only the place has to be right.
pub(super) fn compare_http(sample: &str, printed: &str) -> Result<(), String> {
    let (head, body) = sample.split_once("\n\n").unwrap_or((sample, ""));
    let printed = printed.replace("\r\n", "\n");
    let (printed_head, printed_body) = printed.split_once("\n\n").unwrap_or((&printed, ""));
    for line in head.lines() {
        let name = line.split_once(": ").map_or(line, |(name, _)| name);
        let alike = |other: &str| match other.split_once(": ") {
            Some((other_name, value)) if name != line => {
                other_name.eq_ignore_ascii_case(name)
                    && without_words(&line[name.len() + 2..]) == without_words(value)
            }
            _ => other == line,
        };
        if !printed_head.lines().any(alike) {
            return Err(format!("nothing is sent like `{line}`:\n{printed_head}"));
        }
    }
    if body.trim().is_empty() {
        return Ok(());
    }
    compare_json(body, printed_body)
}

/// A value with `0` for each word that has a digit.
fn without_words(value: &str) -> String {
    let in_word = |letter: char| letter.is_ascii_alphanumeric() || "_-+/".contains(letter);
    let mut shown = String::new();
    let mut word = String::new();
    for letter in value.trim_end_matches('=').chars().chain(['\n']) {
        if in_word(letter) {
            word.push(letter);
            continue;
        }
        let has_digit = word.contains(|letter: char| letter.is_ascii_digit());
        shown.push_str(if has_digit { "0" } else { &word });
        shown.push(letter);
        word.clear();
    }
    shown
}

/// Text lines: each part between two `…` in order.
pub(super) fn compare_lines(sample: &str, printed: &str) -> Result<(), String> {
    let mut rest = printed;
    for line in sample.lines() {
        for part in line
            .split('…')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let Some(found) = rest.find(part) else {
                return Err(format!("`{part}` is not printed:\n{printed}"));
            };
            rest = &rest[found + part.len()..];
        }
    }
    Ok(())
}

fn compare(sample: &Value, printed: &Value, place: &str) -> Result<(), String> {
    let differs = || Err(format!("`{place}` is {printed}, not like {sample}"));
    match (sample, printed) {
        (Value::String(text), _) if text == "…" => Ok(()),
        (Value::String(text), Value::String(_)) if text.contains('…') => Ok(()),
        (Value::Number(sample), Value::Number(number)) => {
            // A fraction may come out whole, as costs of nothing do.
            if sample.is_f64() || !number.is_f64() {
                Ok(())
            } else {
                differs()
            }
        }
        (Value::String(sample), Value::String(printed)) => {
            if sample == printed || (is_time(sample) && is_time(printed)) {
                Ok(())
            } else {
                differs()
            }
        }
        (Value::Array(samples), Value::Array(values)) => {
            if samples.iter().any(|sample| sample == "…") {
                return Ok(());
            }
            if samples.len() != values.len() {
                return differs();
            }
            let mut pairs = samples.iter().zip(values).enumerate();
            pairs.try_for_each(|(at, (sample, value))| {
                compare(sample, value, &format!("{place}.{at}"))
            })
        }
        (Value::Object(samples), Value::Object(values)) => {
            let open = samples.contains_key("…");
            if let Some(key) = values
                .keys()
                .find(|key| !open && !samples.contains_key(*key))
            {
                return Err(format!("`{place}` lacks `{key}`, which is sent"));
            }
            for (key, sample) in samples.iter().filter(|(key, _)| *key != "…") {
                let Some(value) = values.get(key) else {
                    return Err(format!("`{place}` shows `{key}`, which is not sent"));
                };
                compare(sample, value, &format!("{place}.{key}"))?;
            }
            Ok(())
        }
        _ if sample == printed => Ok(()),
        _ => differs(),
    }
}

/// A date, with a time of day or without.
fn is_time(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
        .collect();
    shape == "0000-00-00" || (shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sample: &str, printed: &str, fits: bool) {
        assert_eq!(
            compare_json(sample, printed).is_ok(),
            fits,
            "{sample} {printed}"
        );
    }

    #[test]
    fn a_sample_fits_what_has_its_names_and_kinds() {
        check(
            r#"{"a": 1, "b": "…", "c": {…}}"#,
            r#"{"a": 7, "b": "x", "c": {"d": 1}}"#,
            true,
        );
        check(
            r#"{"at": "2025-01-02T03:04:05Z"}"#,
            r#"{"at": "2026-11-30T00:00:00.123Z"}"#,
            true,
        );
        check(r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#, false);
        check(r#"{"a": 1, "b": 2}"#, r#"{"a": 1}"#, false);
        check(r#"{"a": "about:blank"}"#, r#"{"a": "urn:x"}"#, false);
        check(r#"{"a": true}"#, r#"{"a": false}"#, false);
        check(r#"{"a": null}"#, r#"{"a": 1}"#, false);
        check("[1, 2]", "[1]", false);
        check(r#"["…"]"#, "[1, 2, 3]", true);
    }

    #[test]
    fn headers_are_compared_by_name_and_form() {
        let sent = "HTTP/1.1 200 OK\r\nratelimit: \"default\";r=7;t=3\r\n\r\n{\"a\":1}";
        let fits = |sample: &str| compare_http(sample, sent).is_ok();
        assert!(fits("RateLimit: \"default\";r=59;t=12\n"));
        assert!(fits("RateLimit: \"default\";r=59;t=12\n\n{\"a\": 2}"));
        assert!(!fits("RateLimit: \"default\";r=59\n"));
        assert!(!fits("RateLimit-Policy: \"default\";r=59;t=12\n"));
        assert!(!fits("RateLimit: \"default\";r=59;t=12\n\n{\"b\": 2}"));
    }
}
