//! Writing a value as YAML text that every reader reads as the same value. Readers differ in what
//! an unquoted word means: `no`, `1:30`, `0o7`, `<<` and dates are text to some and something else
//! to others. So a text stays unquoted only where all agree.

use std::fmt::Write as _;

use serde_json::Number;

use crate::value::{Map, Value};

/// Longest key that is written before its colon, in characters; readers look no further than 1,024.
const LONGEST_KEY: usize = 1_000;

/// Words that some reader takes for something else, in lower case.
const WORDS: &[&str] = &[
    "y",
    "n",
    "yes",
    "no",
    "on",
    "off",
    "true",
    "false",
    "null",
    "none",
    "nil",
    "nan",
    "inf",
    "infinity",
    "undefined",
];

/// The value as a block of YAML, which ends with a line break.
pub fn to_text(value: &Value) -> String {
    let mut text = String::new();
    block(&mut text, value, 0);
    text
}

/// A value at the beginning of its line, which is indented already.
fn block(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(entries) if !entries.is_empty() => mapping(text, entries, indent),
        Value::Array(items) if !items.is_empty() => list(text, items, indent),
        _ => {
            scalar(text, value, indent);
            text.push('\n');
        }
    }
}

fn mapping(text: &mut String, entries: &Map<String, Value>, indent: usize) {
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            pad(text, indent);
        }
        let start = text.len();
        word(text, key);
        if text[start..].chars().count() > LONGEST_KEY {
            text.insert_str(start, "? ");
            text.push('\n');
            pad(text, indent);
        }
        text.push(':');
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                text.push('\n');
                pad(text, indent + 2);
                mapping(text, entries, indent + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                pad(text, indent);
                list(text, items, indent);
            }
            _ => {
                text.push(' ');
                scalar(text, value, indent);
                text.push('\n');
            }
        }
    }
}

fn list(text: &mut String, items: &[Value], indent: usize) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            pad(text, indent);
        }
        text.push_str("- ");
        block(text, item, indent + 2);
    }
}

fn scalar(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&written_number(number)),
        Value::String(string) if is_literal(string) => literal(text, string, indent),
        Value::String(string) => word(text, string),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
    }
}

/// With a point and a signed exponent, without which YAML 1.1 takes a fraction for text.
fn written_number(number: &Number) -> String {
    let written = number.to_string();
    let Some((mantissa, exponent)) = written.split_once(['e', 'E']) else {
        return written;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) {
        ""
    } else {
        "+"
    };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// A text on one line.
fn word(text: &mut String, word: &str) {
    if is_plain(word) {
        text.push_str(word);
    } else if word
        .chars()
        .all(|letter| is_printable(letter) && letter != '\n')
    {
        text.push('\'');
        text.push_str(&word.replace('\'', "''"));
        text.push('\'');
    } else {
        escaped(text, word);
    }
}

/// Begins with a letter, as no number, date, merge key or indicator does; is none of the words with
/// a meaning; and holds nothing that means something inside a line.
fn is_plain(text: &str) -> bool {
    text.starts_with(char::is_alphabetic)
        && !text.ends_with(' ')
        && text
            .chars()
            .all(|letter| letter.is_alphanumeric() || " _-./,()'!?;+%&*@=$\"".contains(letter))
        && !WORDS.contains(&text.to_lowercase().as_str())
}

/// Whether all readers take the letter as it stands. Those beyond the first plane are, but for
/// controls.
fn is_printable(letter: char) -> bool {
    matches!(letter, '\n' | ' '..='~' | '\u{a1}'..='\u{2027}' | '\u{202f}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
        && letter != '\u{ad}'
}

/// Texts of several lines are shown as such, where nothing but their letters and line ends is in
/// them and the first line settles the indentation.
fn is_literal(text: &str) -> bool {
    let is_blank = |line: &str| !line.is_empty() && line.trim_start_matches(' ').is_empty();
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && text.chars().all(is_printable)
        && !text.split('\n').any(is_blank)
}

fn literal(text: &mut String, string: &str, indent: usize) {
    let lines = string.trim_end_matches('\n');
    text.push_str(match string.len() - lines.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in lines.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            pad(text, indent + 2);
            text.push_str(line);
        }
    }
    // The line break after the block is the first of the text's own.
    for _ in 1..string.len() - lines.len() {
        text.push('\n');
    }
}

fn escaped(text: &mut String, word: &str) {
    text.push('"');
    for letter in word.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            letter if is_printable(letter) => text.push(letter),
            letter => {
                let code = u32::from(letter);
                let _ = match code {
                    0..=0xff => write!(text, "\\x{code:02x}"),
                    0x100..=0xffff => write!(text, "\\u{code:04x}"),
                    _ => write!(text, "\\U{code:08x}"),
                };
            }
        }
    }
    text.push('"');
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
    fn check(value: Value, expected: &str) {
        assert_eq!(to_text(&value), expected);
    }

    #[test]
    fn what_some_reader_takes_for_something_else_is_quoted() {
        for text in [
            "",
            "<<",
            "=",
            "no",
            "Yes",
            "y",
            "ON",
            "off",
            "null",
            "~",
            "1e22",
            "1:30",
            "22:30",
            "2024-01-02",
            ".5",
            "0o7",
            "0755",
            "0x1F",
            "1_000",
            "-",
            "- a",
            "* a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "a: b",
            "a #b",
            "a ",
            " a",
            "#a",
            "?",
            "[a",
            "{a",
            ">",
            "|",
            ".inf",
            "NaN",
            "---",
            "...",
        ] {
            check(json!([text]), &format!("- '{text}'\n"));
            check(json!({ text: 1 }), &format!("'{text}': 1\n"));
        }
        check(
            json!(["it's", "a\tb", "'"]),
            "- it's\n- \"a\\tb\"\n- ''''\n",
        );
        check(
            json!(["\u{7f}\u{85}\u{2028}\u{feff}"]),
            "- \"\\x7f\\x85\\u2028\\ufeff\"\n",
        );
    }

    #[test]
    fn plain_words_and_sentences_stay_plain() {
        for text in ["Ada", "Hello, Ada!", "grün und gut", "state.end", "a-b (c)"] {
            check(json!([text]), &format!("- {text}\n"));
        }
    }

    #[test]
    fn fractions_have_a_point_and_a_signed_exponent() {
        check(
            json!([1e22, 1.5e-7, 1e-7, 0.1, -0.0, 1.0, 7]),
            "- 1.0e+22\n- 1.5e-7\n- 1.0e-7\n- 0.1\n- -0.0\n- 1.0\n- 7\n",
        );
    }

    #[test]
    fn collections_are_nested_by_indentation() {
        check(
            json!({"a": {"b": [1, {"c": [], "d": {}}, [2, [3]]]}, "e": null, "f": true}),
            "a:\n  b:\n  - 1\n  - c: []\n    d: {}\n  - - 2\n    - - 3\ne: null\nf: true\n",
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(value in proptest::collection::vec(
            ("(\\PC|[\\x00-\\xff]|[a-c0-9:#~.'\"\\n -])*", proptest::num::f64::NORMAL), 0..5,
        )) {
            use crate::diagnostic::findings::Findings;

            let entries = value.iter().map(|(text, number)| json!({ text: [text, number] }));
            let value = json!([entries.collect::<Vec<_>>()]);
            let text = to_text(&value);
            let mut findings = Findings::default();
            let read = crate::yaml::read_yaml(&text, &mut findings).and_then(|node| node.to_value());
            proptest::prop_assert_eq!(read, Some(value), "{}", text);
        }
    }

    #[test]
    fn texts_of_several_lines_are_shown_as_such() {
        check(
            json!({"a": "x\ny", "b": ["x\n\n y\n", "x\n\n\n"], "c": 1}),
            "a: |-\n  x\n  y\nb:\n- |\n    x\n\n     y\n- |+\n    x\n\n\nc: 1\n",
        );
        check(
            json!([" x\ny", "\nx", "x\r\ny"]),
            "- \" x\\ny\"\n- \"\\nx\"\n- \"x\\r\\ny\"\n",
        );
    }
}
