//! The text of an answer, whatever holds it.

use std::fmt;

use serde::de::{
    Deserialize, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};
use serde_json::Value;

use super::visit::nothing_else;

/// Deepest nesting of parts in parts that is looked into.
const MAX_PARTS: usize = 4;

/// Text of an answer: as a text, in parts, or as the object that was wanted, which becomes its
/// JSON.
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::providers::lenient::document::{Document, parse};

    #[track_caller]
    fn check(json: &Value, expected: &Text) {
        let read: Document<HashMap<String, Text>> =
            parse(json!({ "": json }).to_string().as_bytes()).unwrap();
        assert_eq!(read.value[""], *expected, "{json}");
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
}
