//! Values that conform to an output schema.
//!
//! Knows the keywords that workflows' types and constraints are turned into: `type`, `enum`,
//! `const`, `anyOf`, `oneOf`, bounds of numbers, texts, lists and maps, `pattern`, `format`,
//! `properties`, `items`, `additionalProperties`, `propertyNames`.

use serde_json::{Map, Number, Value, json};

use super::text::{self, Topic};

/// Items of a list without bounds: enough to see that it is one.
const USUAL_ITEMS: u64 = 2;
/// Entries of a map without bounds.
const USUAL_ENTRIES: u64 = 1;

/// A value for the whole answer.
pub(super) fn value(schema: &Value, topic: &Topic) -> Value {
    of(schema, topic, "result", 0)
}

/// A value called `name`. `variant` tells the items of a list and the keys of a map apart.
fn of(schema: &Value, topic: &Topic, name: &str, variant: usize) -> Value {
    // `true` and anything else that says nothing.
    let empty = Map::new();
    let schema = schema.as_object().unwrap_or(&empty);
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && let Some(value) = allowed.get(variant % allowed.len().max(1))
    {
        return value.clone();
    }
    let choices = schema
        .get("anyOf")
        .or(schema.get("oneOf"))
        .and_then(Value::as_array);
    if let Some(choice) = choices.and_then(|choices| {
        choices
            .iter()
            .find(|choice| !is_null(choice))
            .or(choices.first())
    }) {
        return of(choice, topic, name, variant);
    }
    match kind(schema) {
        "object" => Value::Object(object(schema, topic, name)),
        "array" => array(schema, topic, name),
        "integer" => integer(schema),
        "number" => number(schema),
        // So that loops that wait for a "done" end.
        "boolean" => Value::Bool(true),
        "null" => Value::Null,
        _ => Value::String(text::fitting(schema, topic, name, variant)),
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

/// The schema's type, the first that is not null of several, or what its keywords are about.
fn kind(schema: &Map<String, Value>) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            kinds
                .clone()
                .find(|kind| *kind != "null")
                .or(kinds.next())
                .unwrap_or("null")
        }
        _ if schema.contains_key("properties") => "object",
        _ if schema.contains_key("items") => "array",
        _ => "string",
    }
}

fn bound(schema: &Map<String, Value>, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

fn object(schema: &Map<String, Value>, topic: &Topic, name: &str) -> Map<String, Value> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut fields: Map<String, Value> = properties
        .into_iter()
        .flatten()
        .map(|(key, property)| (key.clone(), of(property, topic, key, 0)))
        .collect();
    let open = schema
        .get("additionalProperties")
        .unwrap_or(&Value::Bool(true));
    if *open == Value::Bool(false) {
        return fields;
    }
    let usual = if fields.is_empty() { USUAL_ENTRIES } else { 0 };
    let max = bound(schema, "maxProperties").unwrap_or(u64::MAX);
    let wanted = usual
        .max(bound(schema, "minProperties").unwrap_or(0))
        .min(max);
    let keys = schema.get("propertyNames").and_then(Value::as_object);
    // A key may come out twice; a bounded number of tries keeps a set of keys that is too small
    // from looping.
    for variant in 0..usize::try_from(wanted)
        .unwrap_or(usize::MAX)
        .saturating_mul(8)
    {
        if fields.len() as u64 >= wanted {
            break;
        }
        let key = match keys {
            Some(keys) => match of(&Value::Object(keys.clone()), topic, name, variant) {
                Value::String(key) => key,
                other => other.to_string(),
            },
            None => format!("{name}_{}", variant + 1),
        };
        let value = of(open, topic, &key, variant);
        fields.entry(key).or_insert(value);
    }
    fields
}

fn array(schema: &Map<String, Value>, topic: &Topic, name: &str) -> Value {
    let min = bound(schema, "minItems").unwrap_or(0);
    let max = bound(schema, "maxItems").unwrap_or(u64::MAX);
    let count = USUAL_ITEMS.max(min).min(max);
    let items = schema.get("items").unwrap_or(&Value::Bool(true));
    let item = |index: u64| {
        of(
            items,
            topic,
            &format!("{name} {}", index + 1),
            usize::try_from(index).unwrap_or(0),
        )
    };
    (0..count).map(item).collect()
}

/// Half way between two bounds, as near to 1 as one bound allows, 1 without any.
fn integer(schema: &Map<String, Value>) -> Value {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, which is what a bound beyond 64 bits means"
    )]
    let edge = |key: &str, round: fn(f64) -> f64| {
        let bound = schema.get(key)?;
        bound
            .as_i64()
            .or_else(|| bound.as_f64().map(|bound| round(bound) as i64))
    };
    let value = match (edge("minimum", f64::ceil), edge("maximum", f64::floor)) {
        (Some(min), Some(max)) => min.midpoint(max).clamp(min, max.max(min)),
        (Some(min), None) => min.max(1),
        (None, Some(max)) => max.min(1),
        (None, None) => 1,
    };
    json!(value)
}

/// As [`integer`], with 0.5 for 1.
fn number(schema: &Map<String, Value>) -> Value {
    let edge = |key: &str| schema.get(key).and_then(Value::as_f64);
    let value = match (edge("minimum"), edge("maximum")) {
        (Some(min), Some(max)) => min.midpoint(max).max(min),
        (Some(min), None) => min.max(0.5),
        (None, Some(max)) => max.min(0.5),
        (None, None) => 0.5,
    };
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: Value, expected: Value) {
        assert_eq!(value(&schema, &Topic::new("ask", "Hi")), expected);
    }

    #[test]
    fn scalars() {
        check(json!({"type": "string"}), json!("[offline] ask: Hi"));
        check(json!({"type": "boolean"}), json!(true));
        check(json!({"type": "integer"}), json!(1));
        check(
            json!({"type": "integer", "minimum": 0, "maximum": 10}),
            json!(5),
        );
        check(json!({"type": "integer", "minimum": 3}), json!(3));
        check(
            json!({"type": "integer", "minimum": 2.5, "maximum": 3.5}),
            json!(3),
        );
        check(json!({"type": "integer", "maximum": -7}), json!(-7));
        check(json!({"type": "number"}), json!(0.5));
        check(
            json!({"type": "number", "minimum": 0, "maximum": 1}),
            json!(0.5),
        );
        check(json!({"type": "null"}), json!(null));
        check(json!({"type": ["null", "integer"]}), json!(1));
        check(json!({"enum": ["low", "high"]}), json!("low"));
        check(
            json!({"anyOf": [{"type": "null"}, {"type": "boolean"}]}),
            json!(true),
        );
        check(json!(true), json!("[offline] ask: Hi"));
    }

    #[test]
    fn objects_lists_and_maps() {
        check(
            json!({"type": "object", "properties": {"ok": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}}}}),
            json!({"ok": true, "tags": ["[offline] tags 1: Hi", "[offline] tags 2: Hi"]}),
        );
        check(
            json!({"type": "array", "items": {"type": "integer"}, "maxItems": 1}),
            json!([1]),
        );
        check(
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 3}),
            json!([1, 1, 1]),
        );
        check(
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"result_1": 1}),
        );
        check(
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"pattern": "^[0-9]+$"}, "minProperties": 2}),
            json!({"0": 1, "1": 1}),
        );
        check(
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 0}),
            json!({}),
        );
    }
}
