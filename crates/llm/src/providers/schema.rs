//! Fits an answer's JSON Schema to what a provider takes.
//!
//! Constraints a provider does not know are told to the model in the description instead: the
//! answer is checked by the caller in any case.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

/// What a provider's schemas may contain.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Keywords that are kept.
    pub(crate) keywords: &'static [&'static str],
    /// Values of `format` that are kept.
    pub(crate) formats: &'static [&'static str],
}

/// Constraints worth telling the model when the provider does not enforce them.
const TOLD: &[(&str, &str)] = &[
    ("pattern", "matches the regular expression"),
    ("format", "is written as"),
    ("minLength", "characters at least:"),
    ("maxLength", "characters at most:"),
    ("minimum", "at least"),
    ("maximum", "at most"),
    ("minItems", "items at least:"),
    ("maxItems", "items at most:"),
    ("minProperties", "entries at least:"),
    ("maxProperties", "entries at most:"),
    ("enum", "one of"),
];

/// Keeps what the rules allow; everything else becomes part of the description or is dropped.
pub(crate) fn restrict(schema: &Value, rules: &Rules) -> Value {
    let Value::Object(schema) = schema else {
        return schema.clone();
    };
    let mut kept = Map::new();
    for (keyword, value) in schema {
        if allows(rules, keyword, value) {
            kept.insert(keyword.clone(), restrict_below(keyword, value, rules));
        }
    }
    let told: Vec<String> = TOLD
        .iter()
        .filter(|(keyword, _)| !kept.contains_key(*keyword))
        .filter_map(|(keyword, words)| Some(format!("{words} {}", plain(schema.get(*keyword)?))))
        .collect();
    if !told.is_empty() {
        let told = format!("({})", told.join("; "));
        let description = match schema.get("description").and_then(Value::as_str) {
            Some(description) => format!("{description} {told}"),
            None => told,
        };
        kept.insert("description".to_owned(), Value::String(description));
    }
    Value::Object(kept)
}

/// States a schema in words, for models whose server does not enforce it or does not show it to
/// them.
pub(crate) fn instruction(schema: &str) -> String {
    format!("Answer with one JSON object that fits this JSON Schema: {schema}")
}

/// Whether a schema says more than the names and types of its fields. A server that turns it into a
/// grammar does not show the rest to the model.
pub(crate) fn says_more(schema: &Value) -> bool {
    let Value::Object(schema) = schema else {
        return false;
    };
    ["description", "const"]
        .iter()
        .chain(TOLD.iter().map(|(keyword, _)| keyword))
        .any(|keyword| schema.contains_key(*keyword))
        || below(schema).any(says_more)
}

/// Whether every object lists all of its properties as required and allows no others (or says
/// nothing of others): what OpenAI's strict mode wants. Such a schema can be [`close`]d without a
/// change of meaning.
pub(crate) fn is_closed(schema: &Value) -> bool {
    let Value::Object(schema) = schema else {
        return false;
    };
    let own = match schema.get("type") {
        Some(Value::String(name)) if name == "object" => {
            let required: Vec<&str> = schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let properties = schema.get("properties").and_then(Value::as_object);
            properties.is_some_and(|properties| {
                properties
                    .keys()
                    .all(|name| required.contains(&name.as_str()))
            }) && matches!(
                schema.get("additionalProperties"),
                None | Some(Value::Bool(false))
            )
        }
        Some(Value::String(name)) if name == "array" => schema.contains_key("items"),
        Some(Value::Array(names)) => !names.iter().any(|name| name == "object" || name == "array"),
        Some(_) => true,
        None => schema.contains_key("anyOf"),
    };
    own && below(schema).all(is_closed)
}

/// Says `additionalProperties: false` on every object with properties.
pub(crate) fn close(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    if schema.contains_key("properties") {
        schema
            .entry("additionalProperties")
            .or_insert(Value::Bool(false));
    }
    for (keyword, value) in schema.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(close),
            ("items" | "additionalProperties", value) => close(value),
            ("anyOf", Value::Array(choices)) => choices.iter_mut().for_each(close),
            _ => {}
        }
    }
}

/// The direct subschemas.
pub(crate) fn below(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::values);
    let choices = schema
        .get("anyOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let extra = schema
        .get("additionalProperties")
        .filter(|value| value.is_object());
    properties
        .chain(choices)
        .chain(schema.get("items"))
        .chain(extra)
}

fn allows(rules: &Rules, keyword: &str, value: &Value) -> bool {
    rules.keywords.contains(&keyword)
        && match keyword {
            "format" => value
                .as_str()
                .is_some_and(|format| rules.formats.contains(&format)),
            "pattern" => value.as_str().is_some_and(is_portable),
            _ => true,
        }
}

/// Anchored at both ends, and without what the providers' small regex engines do not understand:
/// they refuse the whole request for one such pattern.
fn is_portable(pattern: &str) -> bool {
    let Some(inside) = pattern
        .strip_prefix('^')
        .and_then(|rest| rest.strip_suffix('$'))
    else {
        return false;
    };
    let mut characters = inside.chars().peekable();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if !characters
                .next()
                .is_some_and(|escaped| escaped.is_ascii_punctuation()) =>
            {
                return false;
            }
            '[' if !in_class => {
                in_class = true;
                characters.next_if_eq(&'^');
            }
            ']' => in_class = false,
            '^' | '$' if !in_class => return false,
            _ => {}
        }
    }
    !inside.contains("(?")
}

fn restrict_below(keyword: &str, value: &Value, rules: &Rules) -> Value {
    match (keyword, value) {
        ("properties", Value::Object(properties)) => Value::Object(
            properties
                .iter()
                .map(|(name, schema)| (name.clone(), restrict(schema, rules)))
                .collect(),
        ),
        ("items" | "additionalProperties", schema) => restrict(schema, rules),
        ("anyOf", Value::Array(choices)) => Value::Array(
            choices
                .iter()
                .map(|choice| restrict(choice, rules))
                .collect(),
        ),
        _ => value.clone(),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Schemas that were already fitted, by the identity of the original: a workflow sends the same few
/// again and again.
#[derive(Debug)]
pub(crate) struct SchemaCache<T> {
    by_address: Mutex<HashMap<usize, Entry<T>>>,
}

/// The original is kept, so that its address cannot come to mean another schema.
type Entry<T> = (Arc<Value>, Arc<T>);

/// More originals than any workflow has nodes. Bounded, so that frequent reloads do not make it
/// grow.
const MAX_FITTED: usize = 1_024;

/// Not derived: what is fitted need not have a default.
impl<T> Default for SchemaCache<T> {
    fn default() -> Self {
        Self {
            by_address: Mutex::default(),
        }
    }
}

impl<T> SchemaCache<T> {
    pub(crate) fn get(&self, schema: &Arc<Value>, fit: impl FnOnce(&Value) -> T) -> Arc<T> {
        let address = Arc::as_ptr(schema) as usize;
        let mut fitted = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, done)) = fitted.get(&address) {
            return Arc::clone(done);
        }
        if fitted.len() >= MAX_FITTED {
            fitted.clear();
        }
        let done = Arc::new(fit(schema));
        fitted.insert(address, (Arc::clone(schema), Arc::clone(&done)));
        done
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;
    use serde_json::json;

    const RULES: Rules = Rules {
        keywords: &[
            "type",
            "description",
            "properties",
            "required",
            "items",
            "pattern",
            "format",
            "minimum",
            "additionalProperties",
        ],
        formats: &["date"],
    };

    #[track_caller]
    fn check(schema: Value, expected: Value) {
        assert_eq!(restrict(&schema, &RULES), expected);
    }

    #[test]
    fn unknown_constraints_move_into_the_description() {
        check(
            json!({"type": "string", "minLength": 2, "maxLength": 9, "description": "A name.", "title": "T"}),
            json!({"type": "string", "description": "A name. (characters at least: 2; characters at most: 9)"}),
        );
        check(
            json!({"type": "object", "properties": {"d": {"type": "string", "format": "date"}, "e": {"type": "string", "format": "email"}}}),
            json!({"type": "object", "properties": {"d": {"type": "string", "format": "date"}, "e": {"type": "string", "description": "(is written as email)"}}}),
        );
    }

    #[test]
    fn nested_schemas_are_fitted_too() {
        check(
            json!({"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 5}}),
            json!({"type": "array", "items": {"type": "integer", "minimum": 1, "description": "(at most 5)"}}),
        );
        check(
            json!({"type": "object", "additionalProperties": {"enum": ["a"]}}),
            json!({"type": "object", "additionalProperties": {"description": "(one of [\"a\"])"}}),
        );
    }

    #[test]
    fn a_property_may_be_called_like_a_keyword() {
        let schema = json!({"type": "object", "properties": {"pattern": {"type": "string"}}});
        check(schema.clone(), schema);
    }

    #[test]
    fn only_portable_patterns_stay() {
        for (pattern, expected) in [
            ("^[a-z]+$", true),
            ("^[^0-9]+$", true),
            ("^a\\.b$", true),
            ("[a-z]+", false),
            ("^\\d+$", false),
            ("^(?i)a$", false),
            ("^a$|^b$", false),
        ] {
            assert_eq!(is_portable(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn closed_means_all_required_and_nothing_else() {
        let inner =
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        for (schema, expected) in [
            (inner.clone(), true),
            (
                json!({"type": "object", "properties": {"x": inner}, "required": ["x"], "additionalProperties": false}),
                true,
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}}),
                false,
            ),
            (json!({"type": "object"}), false),
            (
                json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]}),
                true,
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "object"}}, "required": ["a"]}),
                false,
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"]}),
                false,
            ),
            (
                json!({"type": "object", "properties": {"a": {}}, "required": ["a"]}),
                false,
            ),
        ] {
            assert_eq!(is_closed(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn closing_reaches_every_object() {
        let mut schema = json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}});
        close(&mut schema);
        assert_eq!(schema["items"]["additionalProperties"], json!(false));
        assert_eq!(
            schema["items"]["properties"]["a"]["additionalProperties"],
            json!(false)
        );
    }

    #[test]
    fn each_original_is_fitted_once() {
        let fitted = SchemaCache::default();
        let (one, other) = (Arc::new(json!(1)), Arc::new(json!(1)));
        let mut count = 0;
        for schema in [&one, &one, &other] {
            fitted.get(schema, |_| count += 1);
        }
        assert_eq!(count, 2);
    }
}
