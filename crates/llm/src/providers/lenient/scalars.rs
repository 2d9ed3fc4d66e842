//! Numbers, flags and words, however they are written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

use super::visit::nothing_else;

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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::providers::lenient::document::{Document, parse};

    #[track_caller]
    fn check(json: &Value, expected: Count) {
        let read: Document<HashMap<String, Count>> =
            parse(json!({ "": json }).to_string().as_bytes()).unwrap();
        assert_eq!(read.value[""], expected, "{json}");
    }

    #[test]
    fn counts_are_read_however_they_are_written() {
        for count in [json!(12), json!(12.0), json!("12"), json!(" 12.0 ")] {
            check(&count, Count(Some(12)));
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
            check(&none, Count(None));
        }
    }
}
