//! From text to the tree, for JSON: by JSON's rules and nothing more, but with spans.

use std::rc::Rc;

use serde_json::Number;

use super::bounds::{MAX_DEPTH, MAX_VALUES, fault, too_deep, too_many_values};
use super::layout::{Layout, Notation};
use super::mapping::MapBuilder;
use super::misread::{is_foreign_blank, not_a_blank};
use super::node::{Data, Key, Node, Text};
use crate::diagnostic::findings::Findings;
use crate::diagnostic::{Diagnostic, code, quoted};
use crate::source::Span;
use crate::suggest::Suggestion;

type Fault = Box<Diagnostic>;

/// Reads the one value; a leading byte order mark is skipped.
pub(super) fn load(text: &str, findings: &mut Findings) -> Result<Option<Rc<Node>>, Fault> {
    let at = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let mut reader = Reader {
        text,
        at,
        values: 0,
        findings,
    };
    reader.blanks();
    if reader.at == text.len() {
        return Ok(None);
    }
    let root = reader.value(1)?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.refuse("nothing may follow the value"));
    }
    Ok(Some(root))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Rc<Node>, Fault> {
        let start = self.at;
        if depth > MAX_DEPTH {
            return Err(Box::new(too_deep(self.here())));
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Box::new(too_many_values(self.here())));
        }
        let data = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => {
                let value = self.string()?.into();
                let span = Span::new(start, self.at);
                Data::Text(Text {
                    value,
                    layout: Layout {
                        span,
                        notation: Notation::DoubleQuoted,
                    },
                })
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Rc::new(Node::new(Span::new(start, self.at), data)))
    }

    fn object(&mut self, depth: usize) -> Result<Data, Fault> {
        self.at += 1;
        let mut entries = MapBuilder::default();
        self.blanks();
        if !self.take(b'}') {
            loop {
                self.blanks();
                let start = self.at;
                if self.peek() != Some(b'"') {
                    return Err(self.refuse("a key in double quotes is expected here"));
                }
                let text = self.string()?.into();
                let key = Key {
                    text,
                    span: Span::new(start, self.at),
                    is_text: true,
                };
                self.blanks();
                if !self.take(b':') {
                    return Err(self.refuse("`:` is expected here"));
                }
                self.blanks();
                let value = self.value(depth + 1)?;
                entries.insert(key, value, self.findings);
                self.blanks();
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.refuse("`,` or `}` is expected here"));
                }
            }
        }
        // JSON has no `<<`, so nothing is merged and nothing spent.
        Ok(Data::Map(entries.finish(&mut 0)?))
    }

    fn array(&mut self, depth: usize) -> Result<Data, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if !self.take(b']') {
            loop {
                self.blanks();
                items.push(self.value(depth + 1)?);
                self.blanks();
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.refuse("`,` or `]` is expected here"));
                }
            }
        }
        Ok(Data::List(items))
    }

    /// A string; what is between the quotes is left to `serde_json`.
    fn string(&mut self) -> Result<String, Fault> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut end = start + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(b'\n' | b'\r') | None => {
                    return Err(self.refuse("the text that begins here is not closed on its line"));
                }
                Some(_) => end += 1,
            }
        }
        let value = serde_json::from_str(&self.text[start..=end]).map_err(|_| {
            self.refuse("the text that begins here holds a bad escape or a control character")
        })?;
        self.at = end + 1;
        Ok(value)
    }

    fn number(&mut self) -> Result<Data, Fault> {
        let rest = &self.text[self.at..];
        let length = rest
            .find(|letter: char| {
                !(letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.' | 'e' | 'E'))
            })
            .unwrap_or(rest.len());
        let digits = &rest[..length];
        let span = Span::new(self.at, self.at + length);
        let mut number = match serde_json::from_str::<Number>(digits) {
            Ok(number) => number,
            Err(error)
                if error.is_syntax() && error.to_string().contains("number out of range") =>
            {
                let message = format!("the number {} is too large", quoted(digits));
                self.findings.push(fault(code::NUMBER, span, message));
                Number::from(0)
            }
            Err(_) => return Err(self.refuse("this is no number")),
        };
        // `-0` is a float to serde_json, but a small one.
        let beyond = number.as_f64().is_some_and(|value| value != 0.0);
        if beyond && number.is_f64() && !digits.contains(['.', 'e', 'E']) {
            let message = format!("the integer {} does not fit 64 bits", quoted(digits));
            let advice = Suggestion::advice("write it in quotes if it is text");
            self.findings
                .push(fault(code::NUMBER, span, message).suggesting(advice));
            // The fault is reported; any integer will do.
            number = i64::MAX.into();
        }
        self.at = span.end;
        Ok(Data::Number(number))
    }

    fn word(&mut self) -> Result<Data, Fault> {
        for (word, data) in [
            ("true", Data::Bool(true)),
            ("false", Data::Bool(false)),
            ("null", Data::Null),
        ] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(data);
            }
        }
        Err(self.refuse("a value is expected here"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next character.
    fn here(&self) -> Span {
        let width = self.text[self.at..]
            .chars()
            .next()
            .map_or(0, char::len_utf8);
        Span::new(self.at, self.at + width)
    }

    fn refuse(&self, what: &str) -> Fault {
        if let Some(blank) = self.text[self.at..]
            .chars()
            .next()
            .filter(|next| is_foreign_blank(*next))
        {
            return Box::new(not_a_blank(self.at, blank));
        }
        Box::new(fault(
            code::SYNTAX,
            self.here(),
            format!("this is not JSON: {what}"),
        ))
    }
}
