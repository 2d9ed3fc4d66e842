//! The offline model's texts: recognisably its own, about what was asked, as long as wanted.

use super::pattern;
use regex::Regex;
use serde_json::{Map, Value};

/// What a question is about.
#[derive(Debug)]
pub(super) struct Topic {
    label: String,
    excerpt: String,
}

/// Characters of the prompt that are repeated.
const EXCERPT: usize = 60;

impl Topic {
    pub(super) fn new(label: &str, prompt: &str) -> Self {
        let flat = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
        let excerpt = match flat.char_indices().nth(EXCERPT) {
            Some((end, _)) => format!("{}…", flat[..end].trim_end()),
            None => flat,
        };
        Self {
            label: label.to_owned(),
            excerpt,
        }
    }

    /// `[offline] title: Write about otters`, the value's name or the node's in front.
    pub(super) fn sentence(&self, name: Option<&str>) -> String {
        // The key of an answer that is a single value says nothing.
        let name = name.filter(|name| *name != "result").unwrap_or(&self.label);
        let colon = if self.excerpt.is_empty() { "" } else { ": " };
        format!("[offline] {name}{colon}{}", self.excerpt)
    }
}

/// A text that fits a string schema. `variant` tells several of them apart.
pub(super) fn fitting(
    schema: &Map<String, Value>,
    topic: &Topic,
    name: &str,
    variant: usize,
) -> String {
    let bound = |key: &str| {
        schema
            .get(key)
            .and_then(Value::as_u64)
            .and_then(|bound| usize::try_from(bound).ok())
    };
    let (min, max) = (
        bound("minLength").unwrap_or(0),
        bound("maxLength").unwrap_or(usize::MAX),
    );
    let pattern = schema.get("pattern").and_then(Value::as_str);
    // A pattern in another dialect cannot be checked, so the first text of the right length is
    // taken.
    let regex = pattern.and_then(|pattern| Regex::new(pattern).ok());
    let fits = |text: &str| {
        (min..=max).contains(&text.chars().count())
            && regex.as_ref().is_none_or(|regex| regex.is_match(text))
    };

    let plain = stretched(&topic.sentence(Some(name)), min, max);
    let mut candidates = Vec::new();
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        candidates.extend(of_format(format, min));
    }
    candidates.push(plain.clone());
    if let Some(found) = candidates.into_iter().find(|text| fits(text)) {
        return found;
    }
    let found = pattern.and_then(|pattern| {
        pattern::texts(pattern, variant, min).find_map(|core| {
            // An open pattern leaves room for the usual words around its match.
            let room = max.saturating_sub(core.chars().count() + 1);
            let framed = format!("{} {core}", stretched(&plain, 0, room));
            let tail = stretched(&core, min, usize::MAX);
            [framed, core, tail].into_iter().find(|text| fits(text))
        })
    });
    found.unwrap_or(plain)
}

/// Cut or filled up to a length between the bounds.
fn stretched(text: &str, min: usize, max: usize) -> String {
    let mut text: String = text.chars().take(max).collect();
    let missing = min.saturating_sub(text.chars().count());
    text.extend(" and so on".chars().cycle().take(missing));
    text
}

/// Texts of a named format, the usual one first, then shorter ones; the last is filled up to `min`.
fn of_format(format: &str, min: usize) -> Vec<String> {
    let fill = |before: &str, filler: &str, after: &str| {
        let missing = min.saturating_sub(before.len() + after.len());
        format!("{before}{}{after}", filler.repeat(missing))
    };
    let (usual, filled): (&[&str], Option<String>) = match format {
        "date" => (&["2025-01-31"], None),
        "date-time" => (
            &["2025-01-31T12:00:00Z"],
            Some(fill("2025-01-31T12:00:00.0", "0", "Z")),
        ),
        "time" => (&["12:00:00Z"], Some(fill("12:00:00.0", "0", "Z"))),
        "email" => (
            &["offline@example.com", "me@a.io"],
            Some(fill("offline", "e", "@example.com")),
        ),
        "uri" => (
            &["https://example.com/offline", "https://a.io", "a:b"],
            Some(fill("https://example.com/", "a", "")),
        ),
        "uuid" => (&["00000000-0000-4000-8000-000000000000"], None),
        "ipv4" => (&["192.0.2.1", "1.1.1.1", "192.100.200.100"], None),
        "ipv6" => (
            &[
                "2001:db8::1",
                "::1",
                "2001:0db8:0000:0000:0000:0000:0000:0001",
            ],
            None,
        ),
        _ => (&[], None),
    };
    usual
        .iter()
        .map(|&text| text.to_owned())
        .chain(filled)
        .collect()
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(schema: Value, expected: &str) {
        let topic = Topic::new("ask", "Write about\n  otters");
        assert_eq!(
            fitting(schema.as_object().unwrap(), &topic, "title", 0),
            expected
        );
    }

    #[test]
    fn texts_name_their_origin_and_topic() {
        check(json!({}), "[offline] title: Write about otters");
        check(json!({"maxLength": 9}), "[offline]");
        check(
            json!({"minLength": 40}),
            "[offline] title: Write about otters and ",
        );
    }

    #[test]
    fn long_prompts_are_cut() {
        let topic = Topic::new("ask", &"otter ".repeat(50));
        assert_eq!(
            topic.sentence(Some("result")).chars().count(),
            "[offline] ask: ".len() + EXCERPT
        );
        assert_eq!(Topic::new("ask", "").sentence(None), "[offline] ask");
    }

    #[test]
    fn patterns_are_met() {
        check(
            json!({"pattern": "otters"}),
            "[offline] title: Write about otters",
        );
        check(json!({"pattern": "^[A-Z]{2}-[0-9]+$"}), "AA-0");
        check(
            json!({"pattern": "^[A-Z]{2}-[0-9]+$", "minLength": 7}),
            "AA-0000",
        );
        check(
            json!({"pattern": "[0-9]{3}"}),
            "[offline] title: Write about otters 000",
        );
        check(json!({"pattern": "[0-9]{3}", "maxLength": 5}), "[ 000");
        check(json!({"pattern": "^(yes|no)$"}), "yes");
        check(
            json!({"pattern": "^[a-z]+@[a-z]+$", "minLength": 5, "maxLength": 5}),
            "aaa@a",
        );
    }

    #[test]
    fn formats_are_met() {
        check(json!({"format": "date"}), "2025-01-31");
        check(
            json!({"format": "email", "minLength": 22}),
            "offlineeee@example.com",
        );
        check(json!({"format": "email", "maxLength": 8}), "me@a.io");
        check(
            json!({"format": "unknown"}),
            "[offline] title: Write about otters",
        );
    }
}
