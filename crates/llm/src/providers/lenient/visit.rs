//! The visitors that read liberally: what stands in the place of an object's fields, and what comes
//! of a value of another type than expected.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

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
        $crate::providers::lenient::visit::nothing_else!($($more)*);
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
        $crate::providers::lenient::visit::nothing_else!($($more)*);
    };
    (text $($more:ident)*) => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        $crate::providers::lenient::visit::nothing_else!($($more)*);
    };
    (list $($more:ident)*) => {
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
        $crate::providers::lenient::visit::nothing_else!($($more)*);
    };
    (object $($more:ident)*) => {
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            while entries.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
        $crate::providers::lenient::visit::nothing_else!($($more)*);
    };
}
pub(crate) use nothing_else;

/// A struct of the known keys of an object; of a key given twice the last counts. A text in its
/// place is the field behind `or`, where there is one. Anything else is an object without keys.
macro_rules! object {
    (@text) => {
        $crate::providers::lenient::visit::nothing_else!(bool number text list);
    };
    (@text $field:ident) => {
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            let mut read = Self::Value::default();
            text.clone_into(&mut read.$field.text);
            Ok(read)
        }

        $crate::providers::lenient::visit::nothing_else!(bool number list);
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
                        while let Some(key) = entries.next_key::<$crate::providers::lenient::visit::Key<'de>>()? {
                            match &*key.0 {
                                $($($key)|+ => read.$field = entries.next_value()?,)*
                                _ => {
                                    entries.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(read)
                    }

                    $crate::providers::lenient::visit::object!(@text $($plain)?);
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
