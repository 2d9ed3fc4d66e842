//! The JSON of providers, read liberally: a field of another type than expected is no field, numbers may be
//! written as texts or with a point, and nearly JSON will do. Only syntax beyond mending is an error.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
    value::MapAccessDeserializer,
};
use serde_json::Value;

use super::Fault;
use crate::answer::mend;
use crate::large_integers;

/// Deepest nesting of parts in parts that is looked into.
const MAX_PARTS: usize = 4;

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

/// Visits what the type makes nothing of.
macro_rules! nothing_else {
    () => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (bool $($more:ident)*) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        $crate::providers::lenient::nothing_else!($($more)*);
    };
    (number $($more:ident)*) => {
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        $crate::providers::lenient::nothing_else!($($more)*);
    };
    (text $($more:ident)*) => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        $crate::providers::lenient::nothing_else!($($more)*);
    };
    (list $($more:ident)*) => {
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
        $crate::providers::lenient::nothing_else!($($more)*);
    };
    (object $($more:ident)*) => {
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            while entries.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
        $crate::providers::lenient::nothing_else!($($more)*);
    };
}
pub(crate) use nothing_else;

/// A struct of the known keys of an object; of a key given twice the last counts. A text in its place is the field
/// behind `or`, where there is one. Anything else is an object without keys.
macro_rules! object {
    (@text) => {
        $crate::providers::lenient::nothing_else!(bool number text list);
    };
    (@text $field:ident) => {
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            let mut read = Self::Value::default();
            text.clone_into(&mut read.$field.text);
            Ok(read)
        }

        $crate::providers::lenient::nothing_else!(bool number list);
    };
    ($(#[$meta:meta])* $name:ident $(or $plain:ident)? { $($(#[$field_meta:meta])* $field:ident: $type:ty = $($key:literal)|+,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        struct $name {
            $($(#[$field_meta])* $field: $type,)*
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reading;

                impl<'de> serde::de::Visitor<'de> for Reading {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("any JSON")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<$name, A::Error> {
                        let mut read = $name::default();
                        while let Some(key) = entries.next_key::<$crate::providers::lenient::Key<'de>>()? {
                            match &*key.0 {
                                $($($key)|+ => read.$field = entries.next_value()?,)*
                                _ => {
                                    entries.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(read)
                    }

                    $crate::providers::lenient::object!(@text $($plain)?);
                }

                deserializer.deserialize_any(Reading)
            }
        }
    };
}
pub(crate) use object;

/// A key, borrowed where it can be.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(Reading)
    }
}

/// A number of tokens, however it is written; none that is not a whole number from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) Option<u64>);

impl Count {
    fn of_float(count: f64) -> Self {
        // Beyond this doubles leave out whole numbers, and no call takes as many.
        let is_count = (0.0..=9_007_199_254_740_992.0).contains(&count) && count.fract() == 0.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is in the range"
        )]
        Self(is_count.then_some(count as u64))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
                Ok(Count(Some(count)))
            }

            fn visit_i64<E>(self, count: i64) -> Result<Count, E> {
                Ok(Count(u64::try_from(count).ok()))
            }

            fn visit_f64<E>(self, count: f64) -> Result<Count, E> {
                Ok(Count::of_float(count))
            }

            fn visit_str<E>(self, text: &str) -> Result<Count, E> {
                let text = text.trim();
                Ok(match text.parse() {
                    Ok(count) => Count(Some(count)),
                    Err(_) => text.parse().map_or(Count(None), Count::of_float),
                })
            }

            nothing_else!(bool list object);
        }

        deserializer.deserialize_any(Reading)
    }
}

/// Yes or no; nothing else is either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) Option<bool>);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(Some(flag)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Flag, E> {
                Ok(Flag(Some(number != 0)))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Flag, E> {
                Ok(Flag(Some(number != 0)))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Flag, E> {
                Ok(Flag(Some(number != 0.0)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Flag, E> {
                Ok(Flag(text.trim().to_ascii_lowercase().parse().ok()))
            }

            nothing_else!(list object);
        }

        deserializer.deserialize_any(Reading)
    }
}

/// A short text, such as a name; an empty one is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) Option<String>);

impl Word {
    pub(crate) fn as_deref(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(Word((!text.is_empty()).then(|| text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<Word, E> {
                Ok(Word((!text.is_empty()).then_some(text)))
            }

            nothing_else!(bool number list object);
        }

        deserializer.deserialize_any(Reading)
    }
}

/// The items of a list, or the one thing in place of a list.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
                let mut read = Vec::new();
                while let Some(item) = items.next_element()? {
                    read.push(item);
                }
                Ok(List(read))
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<List<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries)).map(|item| List(vec![item]))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<List<T>, E> {
                let text = serde::de::value::StrDeserializer::new(text);
                T::deserialize(text).map(|item| List(vec![item]))
            }

            nothing_else!(bool number);
        }

        deserializer.deserialize_any(Reading(std::marker::PhantomData))
    }
}

/// An object, if it is one.
#[derive(Debug)]
pub(crate) struct Maybe<T>(pub(crate) Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<T> {
            type Value = Maybe<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Maybe<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries)).map(|read| Maybe(Some(read)))
            }

            nothing_else!(bool number text list);
        }

        deserializer.deserialize_any(Reading(std::marker::PhantomData))
    }
}

/// Text of an answer: as a text, in parts, or as the object that was wanted, which becomes its JSON.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// From parts that are reasoning.
    pub(crate) reasoning: String,
}

impl Text {
    fn add_part(&mut self, part: &Value, is_thought: bool, depth: usize) {
        match part {
            Value::String(text) if is_thought => self.reasoning.push_str(text),
            Value::String(text) => self.text.push_str(text),
            Value::Array(parts) if depth < MAX_PARTS => {
                for part in parts {
                    self.add_part(part, is_thought, depth + 1);
                }
            }
            Value::Object(entries) => {
                let kind = entries.get("type").and_then(Value::as_str).unwrap_or("");
                let is_thought = is_thought
                    || kind.contains("think")
                    || kind.contains("reason")
                    || entries.get("thought") == Some(&Value::Bool(true));
                let inner = ["text", "thinking", "reasoning", "content"]
                    .iter()
                    .find_map(|key| entries.get(*key).filter(|inner| !inner.is_null()));
                if let Some(inner) = inner.filter(|_| depth < MAX_PARTS) {
                    self.add_part(inner, is_thought, depth + 1);
                }
            }
            _ => {}
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl Reading {
            fn text(text: String) -> Text {
                Text {
                    text,
                    reasoning: String::new(),
                }
            }
        }

        impl<'de> Visitor<'de> for Reading {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Self::text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Text, E> {
                Ok(Self::text(text))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Text, E> {
                Ok(Self::text(flag.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Self::text(number.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Self::text(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Text, E> {
                Ok(Self::text(number.to_string()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Text, A::Error> {
                let mut text = Text::default();
                while let Some(part) = parts.next_element::<Value>()? {
                    text.add_part(&part, false, 0);
                }
                Ok(text)
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Text, A::Error> {
                let object = Value::deserialize(MapAccessDeserializer::new(entries))?;
                let is_part = object["type"].is_string() && object["text"].is_string();
                if !is_part {
                    return Ok(Self::text(object.to_string()));
                }
                let mut text = Text::default();
                text.add_part(&object, false, 0);
                Ok(text)
            }

            nothing_else!();
        }

        deserializer.deserialize_any(Reading)
    }
}

/// Whether something other than nothing stands there: `null`, `{}`, `""`, `false` and 0 are nothing.
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

    #[track_caller]
    fn check<T: DeserializeOwned + PartialEq + fmt::Debug>(json: &Value, expected: &T) {
        let read: Document<T> = parse(json!({ "": json }).to_string().as_bytes())
            .map(
                |document: Document<std::collections::HashMap<String, T>>| Document {
                    value: document.value.into_values().next().unwrap(),
                    marker: document.marker,
                },
            )
            .unwrap();
        assert_eq!(read.value, *expected, "{json}");
    }

    #[test]
    fn counts_are_read_however_they_are_written() {
        for count in [json!(12), json!(12.0), json!("12"), json!(" 12.0 ")] {
            check(&count, &Count(Some(12)));
        }
        for none in [
            json!(null),
            json!(-1),
            json!(1.5),
            json!("many"),
            json!([]),
            json!({"a": 1}),
            json!(true),
            json!(1e300),
        ] {
            check(&none, &Count(None));
        }
    }

    #[test]
    fn texts_are_joined_from_whatever_holds_them() {
        let text = |text: &str, reasoning: &str| Text {
            text: text.to_owned(),
            reasoning: reasoning.to_owned(),
        };
        check(&json!("a"), &text("a", ""));
        check(&json!(null), &text("", ""));
        check(
            &json!(["a", {"text": "b"}, {"type": "text", "text": null}, null, {"type": "image"}]),
            &text("ab", ""),
        );
        check(
            &json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]),
            &text("a", "hm"),
        );
        check(&json!({"type": "text", "text": "a"}), &text("a", ""));
        check(&json!({"result": "a"}), &text(r#"{"result":"a"}"#, ""));
        check(&json!(5), &text("5", ""));
    }

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
