//! Bodies and the documents in them. Nearly JSON will do; only syntax beyond mending is an error.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::answer::mend;
use crate::large_integers;
use crate::providers::fault::Fault;

/// A document, and what stands in its texts for half of a surrogate pair.
#[derive(Debug)]
pub(crate) struct Document<T> {
    pub(crate) value: T,
    /// Followed by the half's four hexadecimal digits.
    pub(crate) marker: Option<char>,
}

/// Reads a body that is one document.
pub(crate) fn parse<T: DeserializeOwned>(data: &[u8]) -> Result<Document<T>, Fault> {
    let data = &*large_integers::as_text(data);
    let error = match serde_json::from_slice(data) {
        Ok(value) => {
            return Ok(Document {
                value,
                marker: None,
            });
        }
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(data);
    let start = text.len() - text.trim_start_matches(is_space).len();
    let marker = unused_marker(&text);
    if !text[start..].starts_with(['{', '[']) {
        return Err(error.into());
    }
    let Ok(mended) = mend(&text, start, marker) else {
        return Err(error.into());
    };
    if !text[mended.end..].trim().is_empty() {
        return Err(error.into());
    }
    let value = serde_json::from_str(&mended.json)?;
    Ok(Document { value, marker })
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// A character that is reserved for uses like this one, and not in the text.
fn unused_marker(text: &str) -> Option<char> {
    let lower = text.to_ascii_lowercase();
    ('\u{fdd0}'..='\u{fdef}').find(|marker| {
        !text.contains(*marker) && !lower.contains(&format!("\\u{:04x}", u32::from(*marker)))
    })
}

/// Whether something other than nothing stands there: `null`, `{}`, `""`, `false` and 0 are
/// nothing.
pub(crate) fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(is_something),
        Value::Object(entries) => !entries.is_empty(),
    }
}

/// Cuts a body into its documents; what cannot be one ends it.
pub(crate) fn documents(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + body[at..].len() - body[at..].trim_ascii_start().len();
        let length = document_length(&body[start..])?;
        at = start + length;
        Some(&body[start..at])
    })
}

fn document_length(rest: &[u8]) -> Option<usize> {
    if !matches!(rest.first(), Some(b'{' | b'[')) {
        return None;
    }
    let mut strict = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
    if let Some(Ok(_)) = strict.next() {
        return Some(strict.byte_offset());
    }
    let text = std::str::from_utf8(rest).ok()?;
    mend(text, 0, None).ok().map(|mended| mended.end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_nearly_json_will_do() {
        let read: Document<Value> =
            parse(b"\xef\xbb\xbf{\"a\": NaN, \"b\": \"x\ny\", \"c\": \"\\ud83d\",}").unwrap();
        assert_eq!(
            read.value,
            json!({"a": null, "b": "x\ny", "c": "\u{fdd0}d83d"})
        );
        assert_eq!(read.marker, Some('\u{fdd0}'));
        let read: Document<Value> = parse(b"{\"a\": \"\xff\"}").unwrap();
        assert_eq!(read.value, json!({"a": "\u{fffd}"}));
        assert!(parse::<Value>(b"<html>").is_err());
    }

    #[test]
    fn the_marker_of_halves_is_no_character_of_the_text() {
        let read: Document<Value> =
            parse("{\"a\": \"\\ud83d\u{fdd0}\\uFDD1\"}".as_bytes()).unwrap();
        assert_eq!(read.value, json!({"a": "\u{fdd2}d83d\u{fdd0}\u{fdd1}"}));
    }

    #[test]
    fn documents_end_where_something_else_begins() {
        let cut = |body: &'static str| {
            documents(body.as_bytes())
                .map(<[u8]>::len)
                .collect::<Vec<_>>()
        };
        assert_eq!(cut("{\"a\":1}data: [DONE]"), [7]);
        assert_eq!(cut("{\"a\":1}\n{\"b\":NaN,} oops"), [7, 10]);
        assert!(cut("oops").is_empty());
    }
}
