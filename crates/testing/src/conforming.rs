//! Makes the smallest value that conforms to a JSON schema.
//!
//! Covers what our own nodes send: types, `enum`, `const`, `anyOf`/`oneOf`, required and optional
//! properties, `minItems`, `minimum`. No `$ref`, no patterns.

use serde_json::{Map, Value, json};

/// A value for `schema` whose strings all read `text`.
pub(crate) fn value(schema: &Value, text: &str) -> Value {
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(first) = schema.pointer("/enum/0").or(schema.get("default")) {
        return first.clone();
    }
    if let Some(first) = schema.pointer("/anyOf/0").or(schema.pointer("/oneOf/0")) {
        return value(first, text);
    }
    let minimum = schema.get("minimum").unwrap_or(&Value::Null);
    match type_name(schema) {
        "object" => object(schema, text),
        "array" => array(schema, text),
        "integer" => json!(minimum.as_i64().unwrap_or(1)),
        "number" => json!(minimum.as_f64().unwrap_or(1.0)),
        "boolean" => json!(true),
        "null" => Value::Null,
        _ => json!(text),
    }
}

/// The schema's type; of a list of types the first.
fn type_name(schema: &Value) -> &str {
    let named = schema["type"]
        .as_str()
        .or_else(|| schema["type"][0].as_str());
    named.unwrap_or(if schema["properties"].is_object() {
        "object"
    } else {
        "string"
    })
}

fn object(schema: &Value, text: &str) -> Value {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let members: Map<_, _> = properties
        .map(|(name, schema)| (name.clone(), value(schema, text)))
        .collect();
    members.into()
}

fn array(schema: &Value, text: &str) -> Value {
    let length = schema["minItems"].as_u64().unwrap_or(1).max(1);
    (0..length).map(|_| value(&schema["items"], text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: &Value, expected: &Value) {
        assert_eq!(value(schema, "hi"), *expected, "{schema}");
    }

    #[test]
    fn conforms_to_each_type() {
        check(&json!({"type": "string"}), &json!("hi"));
        check(&json!({"type": "integer"}), &json!(1));
        check(&json!({"type": "integer", "minimum": 7}), &json!(7));
        check(&json!({"type": "number"}), &json!(1.0));
        check(&json!({"type": "boolean"}), &json!(true));
        check(&json!({"type": ["string", "null"]}), &json!("hi"));
        check(
            &json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            &json!(1),
        );
        check(&json!({"enum": ["b", "a"]}), &json!("b"));
        check(
            &json!({"type": "array", "items": {"type": "string"}}),
            &json!(["hi"]),
        );
        check(
            &json!({"type": "array", "items": {"type": "integer"}, "minItems": 2}),
            &json!([1, 1]),
        );
    }

    #[test]
    fn fills_nested_objects() {
        check(
            &json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"properties": {"c": {"type": "boolean"}}}}}),
            &json!({"a": "hi", "b": {"c": true}}),
        );
    }
}
