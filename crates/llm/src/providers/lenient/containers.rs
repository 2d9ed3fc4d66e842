//! Lists and objects, or what stands in their place.

use std::fmt;

use serde::de::{
    Deserialize, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};

use super::visit::nothing_else;

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
