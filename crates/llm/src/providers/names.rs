//! Property names that every provider takes.
//!
//! Anthropic, and Bedrock behind many proxies, refuse a whole request over one property name with
//! an umlaut, a blank or more than 64 letters. Such names are sent as plain ones and translated
//! back in the answer. The model reads the field's own name in its description.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

/// Longest name that is sent, in letters.
const MAX_NAME: usize = 64;
/// Most letters of the original name; the rest is for a number that makes it unique.
const MAX_STEM: usize = 56;

/// A schema whose unusual property names are replaced.
#[derive(Debug)]
pub(crate) struct PlainNames {
    /// As it is sent.
    pub(crate) schema: Value,
    /// Original names by the name that is sent, which is unique in the schema.
    originals: HashMap<String, String>,
}

impl PlainNames {
    /// `None` if every name is plain already.
    pub(crate) fn of(schema: &Value) -> Option<Self> {
        let mut names = Vec::new();
        collect(schema, &mut names);
        if names.iter().all(|name| is_plain(name)) {
            return None;
        }
        let mut taken: HashSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut sent: HashMap<&str, String> = HashMap::new();
        for name in names {
            if is_plain(name) || sent.contains_key(name) {
                continue;
            }
            let plain = free(&stem(name), &taken);
            taken.insert(plain.clone());
            sent.insert(name, plain);
        }
        let schema = rename(schema, &sent);
        let originals = sent
            .into_iter()
            .map(|(name, plain)| (plain, name.to_owned()))
            .collect();
        Some(Self { schema, originals })
    }

    /// The answer with the original names of `schema`. Keys of maps are left as they are.
    pub(crate) fn restore(&self, answer: Value, schema: &Value) -> Value {
        let mut schemas = Vec::new();
        choices(schema, &mut schemas);
        self.restore_below(answer, &schemas)
    }

    fn restore_below(&self, value: Value, schemas: &[&Value]) -> Value {
        if schemas.is_empty() {
            return value;
        }
        match value {
            Value::Object(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|(key, value)| {
                        let original = self.originals.get(&key);
                        let original = original.filter(|name| {
                            schemas
                                .iter()
                                .any(|schema| property(schema, name).is_some())
                        });
                        let key = original.cloned().unwrap_or(key);
                        let mut below = Vec::new();
                        for schema in schemas {
                            let inner = property(schema, &key)
                                .or_else(|| schema.get("additionalProperties"));
                            if let Some(inner) = inner {
                                choices(inner, &mut below);
                            }
                        }
                        (key, self.restore_below(value, &below))
                    })
                    .collect(),
            ),
            Value::Array(items) => {
                let mut below = Vec::new();
                for inner in schemas.iter().filter_map(|schema| schema.get("items")) {
                    choices(inner, &mut below);
                }
                let items = items.into_iter();
                Value::Array(items.map(|item| self.restore_below(item, &below)).collect())
            }
            other => other,
        }
    }
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

/// A schema and, if it is a choice, its alternatives.
fn choices<'a>(schema: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(schema);
    let any_of = schema.get("anyOf").and_then(Value::as_array);
    for choice in any_of.into_iter().flatten() {
        choices(choice, found);
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn stem(name: &str) -> String {
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-' => character,
        _ => '_',
    };
    let stem: String = name.chars().map(plain).take(MAX_STEM).collect();
    if stem.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        stem
    } else {
        "field".to_owned()
    }
}

/// The stem, with a number if it is taken.
fn free(stem: &str, taken: &HashSet<String>) -> String {
    let numbered = (2_u32..).map(|number| format!("{stem}_{number}"));
    std::iter::once(stem.to_owned())
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .expect("there are more numbers than names")
}

fn collect<'a>(schema: &'a Value, names: &mut Vec<&'a str>) {
    let Value::Object(schema) = schema else {
        return;
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    names.extend(
        properties
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str),
    );
    super::schema::below(schema).for_each(|inner| collect(inner, names));
}

fn rename(schema: &Value, sent: &HashMap<&str, String>) -> Value {
    let Value::Object(schema) = schema else {
        return schema.clone();
    };
    let renamed = schema.iter().map(|(keyword, value)| {
        let value = match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                let properties = properties.iter().map(|(name, schema)| {
                    let mut schema = rename(schema, sent);
                    let Some(plain) = sent.get(name.as_str()) else {
                        return (name.clone(), schema);
                    };
                    describe(&mut schema, name);
                    (plain.clone(), schema)
                });
                Value::Object(properties.collect())
            }
            ("required", Value::Array(names)) => Value::Array(
                names
                    .iter()
                    .map(|name| {
                        let plain = name.as_str().and_then(|name| sent.get(name));
                        plain.map_or_else(|| name.clone(), |plain| json!(plain))
                    })
                    .collect(),
            ),
            ("items" | "additionalProperties", inner) => rename(inner, sent),
            ("anyOf", Value::Array(choices)) => {
                Value::Array(choices.iter().map(|choice| rename(choice, sent)).collect())
            }
            (_, value) => value.clone(),
        };
        (keyword.clone(), value)
    });
    Value::Object(renamed.collect())
}

/// Says the field's own name in front of its description.
fn describe(schema: &mut Value, name: &str) {
    if let Value::Object(schema) = schema {
        let description = match schema.get("description").and_then(Value::as_str) {
            Some(description) => format!("`{name}`: {description}"),
            None => format!("`{name}`"),
        };
        schema.insert("description".to_owned(), json!(description));
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;

    fn object(properties: Value) -> Value {
        json!({"type": "object", "properties": properties})
    }

    /// The names that are sent for names of the first level, in order.
    #[track_caller]
    fn check(names: &[&str], expected: &[&str]) {
        let properties: Map<String, Value> = names
            .iter()
            .map(|name| ((*name).to_owned(), json!({"type": "string"})))
            .collect();
        let schema = object(Value::Object(properties));
        let renamed = PlainNames::of(&schema).unwrap();
        let sent = renamed.schema["properties"].as_object().unwrap();
        assert_eq!(sent.keys().collect::<Vec<_>>(), expected);
        for name in sent.keys() {
            assert!(is_plain(name), "{name}");
        }
        let answer: Map<String, Value> = sent
            .keys()
            .zip(names)
            .map(|(sent, name)| (sent.clone(), json!(name)))
            .collect();
        let restored = renamed.restore(Value::Object(answer), &schema);
        let expected: Map<String, Value> = names
            .iter()
            .map(|name| ((*name).to_owned(), json!(name)))
            .collect();
        assert_eq!(restored, Value::Object(expected));
    }

    #[test]
    fn odd_names_are_sent_as_plain_ones_and_come_back() {
        check(&["grüße", "plain"], &["gr__e", "plain"]);
        check(
            &["account number", "score (1-5)", "$top", "plan.name"],
            &["account_number", "score__1-5_", "_top", "plan.name"],
        );
        check(&["名前", "住所", ""], &["field", "field_2", "field_3"]);
        check(&["a b", "a_b", "a?b"], &["a_b_2", "a_b", "a_b_3"]);
        let long = "a".repeat(70);
        check(&[&long], &[&long[..MAX_STEM]]);
    }

    #[test]
    fn plain_names_are_left_alone() {
        let schema = object(json!({"plan.name": {"type": "string"}, "a-b_C9": {}}));
        assert!(PlainNames::of(&schema).is_none());
    }

    #[test]
    fn the_model_reads_the_fields_own_name() {
        let schema = json!({
            "type": "object", "required": ["grüße", "b"],
            "properties": {"grüße": {"type": "string", "description": "Kindly."}, "b": {"type": "string"}},
        });
        assert_eq!(
            PlainNames::of(&schema).unwrap().schema,
            json!({
                "type": "object", "required": ["gr__e", "b"],
                "properties": {"gr__e": {"type": "string", "description": "`grüße`: Kindly."}, "b": {"type": "string"}},
            })
        );
    }

    #[test]
    fn names_are_restored_at_every_level_and_keys_of_maps_are_not_touched() {
        let inner = object(json!({"größe": {"type": "integer"}}));
        let schema = object(json!({
            "list": {"type": "array", "items": inner},
            "map": {"type": "object", "additionalProperties": inner},
            "either": {"anyOf": [{"type": "null"}, inner]},
            "free": {"type": "object"},
        }));
        let renamed = PlainNames::of(&schema).unwrap();
        let sent = json!({"gr__e": 1});
        let answer = json!({
            "list": [sent], "map": {"gr__e": sent}, "either": sent, "free": sent, "unknown": sent,
        });
        let own = json!({"größe": 1});
        assert_eq!(
            renamed.restore(answer, &schema),
            json!({"list": [own], "map": {"gr__e": own}, "either": own, "free": sent, "unknown": sent})
        );
    }
}
