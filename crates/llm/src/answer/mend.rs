//! Reads what is nearly JSON, as models and small servers write it.
//!
//! Mended is what has exactly one reading: raw control characters in a text, half a surrogate pair,
//! `\'`, a trailing comma, comments, single quotes, keys without quotes, and the words of Python.
//! What has none or several (`NaN`, `1e999`, `\d`) is a fault; reading goes on behind it, so that
//! it is known where the value ends. Where that cannot be known either, because a text may have
//! ended too early, the reader is lost.

use std::fmt::Write as _;

/// Deepest nesting read: as deep as `serde_json` goes.
const MAX_DEPTH: usize = 127;

/// A value that was read to its end.
#[derive(Debug)]
pub(crate) struct Mended {
    /// The value as strict JSON; `null` stands for what has a fault.
    pub(crate) json: String,
    /// Where the text goes on behind it.
    pub(crate) end: usize,
    /// The first part that cannot be mended.
    pub(crate) fault: Option<Fault>,
}

/// What is wrong with a text, without quoting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// To follow "it is not valid JSON: ".
    pub(crate) what: &'static str,
    /// Byte offset.
    pub(crate) at: usize,
}

/// A value whose end is not known.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) fault: Fault,
    /// Texts, comments, lists or objects were seen inside of it.
    pub(crate) has_parts: bool,
}

impl Fault {
    /// `what at line 1, column 5`
    pub(crate) fn place(self, text: &str) -> String {
        let before = text.get(..self.at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        format!("{} at line {line}, column {column}", self.what)
    }
}

/// Reads the value that begins at `start`. Half a surrogate pair becomes U+FFFD, or, where a marker
/// is given, the marker and the half's four hexadecimal digits.
pub(crate) fn mend(text: &str, start: usize, marker: Option<char>) -> Result<Mended, Lost> {
    let mut reader = Reader {
        text,
        at: start,
        json: String::new(),
        open: Vec::new(),
        fault: None,
        marker,
        has_parts: false,
    };
    match reader.value() {
        Ok(()) => Ok(Mended {
            json: reader.json,
            end: reader.at,
            fault: reader.fault,
        }),
        Err(what) => Err(Lost {
            fault: reader.fault.unwrap_or(Fault {
                what,
                at: reader.at,
            }),
            has_parts: reader.has_parts,
        }),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    json: String,
    /// The closing brackets that are still to come.
    open: Vec<u8>,
    fault: Option<Fault>,
    marker: Option<char>,
    has_parts: bool,
}

/// What may come next.
#[derive(Clone, Copy)]
enum Next {
    Value,
    /// Or the end of the list, behind a trailing comma too.
    ValueOrEnd,
    /// Or the end of the object, behind a trailing comma too.
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

const CUT_OFF: &str = "it ends before it is complete";
const UNEXPECTED: &str = "a character that cannot stand there";

/// The error says what is wrong where the reader stopped.
type Step = Result<(), &'static str>;

impl<'t> Reader<'t> {
    fn value(&mut self) -> Step {
        let mut next = Next::Value;
        let mut comma = false;
        loop {
            self.skip_space()?;
            let byte = self.peek().ok_or(CUT_OFF)?;
            next = match (next, byte) {
                (Next::ValueOrEnd | Next::KeyOrEnd | Next::CommaOrEnd, _)
                    if self.open.last() == Some(&byte) =>
                {
                    comma = false;
                    self.open.pop();
                    self.json.push(char::from(byte));
                    self.at += 1;
                    Next::CommaOrEnd
                }
                (Next::CommaOrEnd, b',') => {
                    comma = true;
                    self.at += 1;
                    if self.open.last() == Some(&b'}') {
                        Next::KeyOrEnd
                    } else {
                        Next::ValueOrEnd
                    }
                }
                (Next::Colon, b':') => {
                    self.json.push(':');
                    self.at += 1;
                    Next::Value
                }
                (Next::KeyOrEnd, _) => {
                    self.write_comma(&mut comma);
                    self.key(byte)?;
                    Next::Colon
                }
                (Next::Value | Next::ValueOrEnd, _) => {
                    self.write_comma(&mut comma);
                    self.begin(byte)?
                }
                (Next::Colon | Next::CommaOrEnd, _) => return Err(UNEXPECTED),
            };
            if self.open.is_empty() {
                return Ok(());
            }
        }
    }

    fn write_comma(&mut self, comma: &mut bool) {
        if std::mem::take(comma) {
            self.json.push(',');
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Spaces and comments.
    fn skip_space(&mut self) -> Step {
        loop {
            let rest = &self.text[self.at..];
            let kept = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{a0}', '\u{feff}']);
            self.at += rest.len() - kept.len();
            if !kept.starts_with("//") && !kept.starts_with("/*") {
                return Ok(());
            }
            // Whoever looks for a value may not look into a comment, or read it again.
            self.has_parts = true;
            if kept.starts_with("//") {
                self.at += kept.find('\n').ok_or(CUT_OFF)?;
            } else {
                self.at += kept[2..].find("*/").ok_or(CUT_OFF)? + 4;
            }
        }
    }

    fn key(&mut self, byte: u8) -> Step {
        match byte {
            b'"' | b'\'' => self.string(byte),
            _ => {
                let word = self.word();
                if word.is_empty() || word.starts_with(|first: char| first.is_ascii_digit()) {
                    return Err(UNEXPECTED);
                }
                self.json.push('"');
                self.json.push_str(word);
                self.json.push('"');
                self.at += word.len();
                Ok(())
            }
        }
    }

    fn begin(&mut self, byte: u8) -> Result<Next, &'static str> {
        match byte {
            b'{' | b'[' => {
                if self.open.len() >= MAX_DEPTH {
                    return Err("it is nested too deeply");
                }
                self.has_parts |= !self.open.is_empty();
                self.json.push(char::from(byte));
                self.at += 1;
                return Ok(if byte == b'{' {
                    self.open.push(b'}');
                    Next::KeyOrEnd
                } else {
                    self.open.push(b']');
                    Next::ValueOrEnd
                });
            }
            b'"' | b'\'' => self.string(byte)?,
            _ => self.scalar()?,
        }
        Ok(Next::CommaOrEnd)
    }

    /// A number or a word.
    fn scalar(&mut self) -> Step {
        let rest = &self.text[self.at..];
        let is_part =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '+' | '-' | '.');
        let token = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        if token.is_empty() {
            return Err(UNEXPECTED);
        }
        let written = match token {
            "True" => Some("true"),
            "False" => Some("false"),
            "None" => Some("null"),
            _ => serde_json::from_str::<serde_json::Value>(token)
                .is_ok()
                .then_some(token),
        };
        let written = written.unwrap_or_else(|| {
            let is_number = token.starts_with(|c: char| c.is_ascii_digit() || c == '-');
            self.note(if is_number {
                "a number that JSON does not have or that is too large"
            } else {
                "a word that JSON does not have"
            });
            "null"
        });
        self.json.push_str(written);
        self.at += token.len();
        Ok(())
    }

    fn word(&self) -> &'t str {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
    }

    fn note(&mut self, what: &'static str) {
        let at = self.at;
        self.fault.get_or_insert(Fault { what, at });
    }

    fn string(&mut self, quote: u8) -> Step {
        self.has_parts = true;
        self.at += 1;
        self.json.push('"');
        let mut run = self.at;
        loop {
            let byte = self.peek().ok_or("it ends inside of a text")?;
            if byte != quote && byte >= b' ' && byte != b'\\' && byte != b'"' {
                self.at += 1;
                continue;
            }
            self.json.push_str(&self.text[run..self.at]);
            if byte == quote {
                self.at += 1;
                self.json.push('"');
                return Ok(());
            }
            match byte {
                b'\\' => self.escape()?,
                b'"' => {
                    self.json.push_str("\\\"");
                    self.at += 1;
                }
                control => {
                    self.write(format_args!("\\u{control:04x}"));
                    self.at += 1;
                }
            }
            run = self.at;
        }
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        self.json.write_fmt(what).expect("a String takes any text");
    }

    fn escape(&mut self) -> Step {
        let escaped = *self.text.as_bytes().get(self.at + 1).ok_or(CUT_OFF)?;
        match escaped {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.json.push_str(&self.text[self.at..self.at + 2]);
                self.at += 2;
            }
            b'\'' => {
                self.json.push('\'');
                self.at += 2;
            }
            b'u' => self.unicode(),
            _ => {
                self.note("an escape that JSON does not have");
                self.at += 1;
                // What follows is read as if there were no backslash.
            }
        }
        Ok(())
    }

    fn unicode(&mut self) {
        let Some(code) = self.hex(self.at) else {
            self.note("an escape that JSON does not have");
            self.at += 2;
            return;
        };
        let is_pair = (0xd800..0xdc00).contains(&code)
            && self
                .hex(self.at + 6)
                .is_some_and(|low| (0xdc00..0xe000).contains(&low));
        if is_pair {
            self.json.push_str(&self.text[self.at..self.at + 12]);
            self.at += 12;
            return;
        }
        if (0xd800..0xe000).contains(&code) {
            match self.marker {
                Some(marker) => self.write(format_args!("{marker}{code:04x}")),
                None => self.json.push(char::REPLACEMENT_CHARACTER),
            }
        } else {
            self.json.push_str(&self.text[self.at..self.at + 6]);
        }
        self.at += 6;
    }

    /// The code of the escape `\uXXXX` at an offset.
    fn hex(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u16::from_str_radix(digits, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &Value) {
        let mended = mend(text, 0, None).unwrap();
        assert_eq!(mended.fault, None);
        assert_eq!(mended.end, text.len());
        assert_eq!(
            serde_json::from_str::<Value>(&mended.json).unwrap(),
            *expected
        );
    }

    #[test]
    fn what_has_exactly_one_reading_is_mended() {
        check(
            "{\"a\": \"one\ntwo\tthree\u{1}\"}",
            &json!({"a": "one\ntwo\tthree\u{1}"}),
        );
        check(
            r#"{"a": [1, 2, ], "b": {"c": 1,},}"#,
            &json!({"a": [1, 2], "b": {"c": 1}}),
        );
        check(r#"{"a": "it\'s"}"#, &json!({"a": "it's"}));
        check(
            r#"{"a": "\ud83d!", "b": "\ude00", "c": "\ud83d\ude00"}"#,
            &json!({"a": "\u{fffd}!", "b": "\u{fffd}", "c": "😀"}),
        );
        check(r#"{"a": "\ud83d\n"}"#, &json!({"a": "\u{fffd}\n"}));
        check(
            r#"{'a': 'say "hi"', 'b': 'it\'s', 'c': [True, False, None]}"#,
            &json!({"a": "say \"hi\"", "b": "it's", "c": [true, false, null]}),
        );
        check(
            "{a: 1, // first\n größe_2: 2 /* {second} */}",
            &json!({"a": 1, "größe_2": 2}),
        );
        check("{\u{a0}\"a\":\u{a0}1}", &json!({"a": 1}));
    }

    #[track_caller]
    fn check_fault(text: &str, what: &str) {
        let mended = mend(text, 0, None).unwrap();
        assert_eq!(mended.end, text.len(), "{mended:?}");
        assert!(mended.fault.unwrap().what.contains(what), "{mended:?}");
        serde_json::from_str::<Value>(&mended.json).unwrap();
    }

    #[test]
    fn what_has_none_or_several_is_a_fault_whose_end_is_known() {
        for text in [
            r#"{"a": 1e999}"#,
            r#"{"a": -Infinity, "b": [{}]}"#,
            r#"{"a": 0x10}"#,
            r#"{"a": 01}"#,
        ] {
            check_fault(text, "a number");
        }
        for text in [
            r#"{"a": NaN}"#,
            r#"{"a": undefined}"#,
            r#"{"a": [Infinity]}"#,
        ] {
            check_fault(text, "a word");
        }
        for text in [
            r#"{"a": "C:\dir"}"#,
            r#"{"a": "\u12"}"#,
            "{\"a\": \"\\\n\"}",
            r#"{"a": "\ü"}"#,
        ] {
            check_fault(text, "an escape");
        }
    }

    #[track_caller]
    fn check_lost(text: &str) {
        assert!(mend(text, 0, None).is_err(), "{:?}", mend(text, 0, None));
    }

    #[test]
    fn a_value_that_may_have_ended_too_early_has_no_known_end() {
        for text in [
            r#"{"a": "cut {"a": "evil"}"#,
            r#"{"a": "cut {"a": "evil"}"}"#,
            r#"{"a": "x", y } {"a": "evil"} "}"#,
            r#"{"a": "b"#,
            r#"{"a": 1 "b": 2}"#,
            "{,}",
            "[1,,2]",
            r#"{"a" 1}"#,
            r#"{"a": }"#,
            r#"{"a": [1}"#,
            "{\"a\": \"b\\",
            r#"{{"a": 1}}"#,
            "{1: 2}",
            "{\"a\": 1 // no end",
            "{/*",
        ] {
            check_lost(text);
        }
        check_lost(&"[".repeat(100_000));
    }

    #[test]
    fn halves_can_be_marked() {
        let mended = mend(r#""a\ud83d""#, 0, Some('\u{fdd0}')).unwrap();
        assert_eq!(mended.json, "\"a\u{fdd0}d83d\"");
    }

    #[test]
    fn a_fault_says_where() {
        let text = "{\"ä\": 1,\n \"b\": NaN}";
        let fault = mend(text, 0, None).unwrap().fault.unwrap();
        assert_eq!(
            fault.place(text),
            "a word that JSON does not have at line 2, column 7"
        );
    }
}
