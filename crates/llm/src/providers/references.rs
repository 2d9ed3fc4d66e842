//! Puts the schemas that a tool's schema refers to in the place of the reference, and says choices
//! and sums in the one way that every provider's rules know.

use serde_json::{Map, Value, json};

/// Most schemas in the result: references can blow a small schema up.
const MAX_SCHEMAS: usize = 4_096;

/// Deepest nesting of the result.
const MAX_DEPTH: usize = 32;

/// The schema of a tool's arguments without references, `oneOf` and `allOf`, and with an object on
/// top. Where a schema contains itself, the inner one says nothing: the arguments are checked
/// against the original in any case. `Err` says why the schema cannot be sent.
pub(crate) fn inlined(schema: &Value) -> Result<Value, String> {
    let mut inlining = Inlining {
        root: schema,
        open: Vec::new(),
        left: MAX_SCHEMAS,
    };
    let Value::Object(mut top) = inlining.schema(schema, 0)? else {
        return Err("the schema is not an object".to_owned());
    };
    match top.get("type") {
        None => {
            top.insert("type".to_owned(), json!("object"));
        }
        Some(name) if name == "object" => {}
        Some(other) => {
            return Err(format!("the schema must be of type `object`, not {other}"));
        }
    }
    flatten_choice(&mut top);
    top.entry("properties").or_insert_with(|| json!({}));
    Ok(Value::Object(top))
}

/// No provider takes a choice on top. Its fields become optional ones.
fn flatten_choice(top: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = top.remove("anyOf") else {
        return;
    };
    for choice in choices {
        if let Value::Object(mut choice) = choice {
            choice.remove("required");
            merge(top, choice);
        }
    }
}

/// Adds what `more` says beyond `schema`.
fn merge(schema: &mut Map<String, Value>, more: Map<String, Value>) {
    for (keyword, value) in more {
        match (schema.get_mut(&keyword), value) {
            (Some(Value::Object(own)), Value::Object(more)) if keyword == "properties" => {
                for (name, field) in more {
                    own.entry(name).or_insert(field);
                }
            }
            (Some(Value::Array(own)), Value::Array(more)) if keyword == "required" => {
                let new: Vec<_> = more
                    .into_iter()
                    .filter(|name| !own.contains(name))
                    .collect();
                own.extend(new);
            }
            (Some(_), _) => {}
            (None, value) => {
                schema.insert(keyword, value);
            }
        }
    }
}

struct Inlining<'a> {
    root: &'a Value,
    /// The references that are being inlined.
    open: Vec<&'a str>,
    left: usize,
}

impl<'a> Inlining<'a> {
    fn schema(&mut self, schema: &'a Value, depth: usize) -> Result<Value, String> {
        let Value::Object(schema) = schema else {
            return Ok(schema.clone());
        };
        let left = self.left.checked_sub(1).filter(|_| depth < MAX_DEPTH);
        self.left = left.ok_or("the schema is too large or nested too deeply")?;
        let mut kept = Map::new();
        for (keyword, value) in schema {
            let value = match (keyword.as_str(), value) {
                ("$ref" | "allOf" | "oneOf" | "$defs" | "definitions", _) => continue,
                ("properties", Value::Object(fields)) => {
                    let fields = fields.iter();
                    let fields = fields
                        .map(|(name, field)| Ok((name.clone(), self.schema(field, depth + 1)?)));
                    Value::Object(fields.collect::<Result<_, String>>()?)
                }
                ("items" | "additionalProperties", value) => self.schema(value, depth + 1)?,
                ("anyOf", Value::Array(choices)) => self.choices(choices, depth)?,
                (_, value) => value.clone(),
            };
            kept.insert(keyword.clone(), value);
        }
        if let Some(Value::Array(choices)) = schema.get("oneOf") {
            let choices = self.choices(choices, depth)?;
            kept.entry("anyOf").or_insert(choices);
        }
        if let Some(Value::Array(all)) = schema.get("allOf") {
            for more in all {
                if let Value::Object(more) = self.schema(more, depth + 1)? {
                    merge(&mut kept, more);
                }
            }
        }
        if let Some(Value::String(reference)) = schema.get("$ref") {
            let target = reference.strip_prefix('#');
            let target = target.and_then(|pointer| self.root.pointer(pointer));
            let target = target.ok_or_else(|| {
                format!("the schema refers to `{reference}`, which it does not contain")
            })?;
            if !self.open.contains(&&**reference) {
                self.open.push(reference);
                let target = self.schema(target, depth + 1)?;
                self.open.pop();
                if let Value::Object(target) = target {
                    merge(&mut kept, target);
                }
            }
        }
        Ok(Value::Object(kept))
    }

    fn choices(&mut self, choices: &'a [Value], depth: usize) -> Result<Value, String> {
        let choices = choices.iter();
        let choices = choices.map(|choice| self.schema(choice, depth + 1));
        Ok(Value::Array(choices.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: Value, expected: Value) {
        assert_eq!(inlined(&schema).unwrap(), expected);
    }

    /// T32
    #[test]
    fn references_become_what_they_refer_to() {
        check(
            json!({
                "type": "object", "properties": {"at": {"$ref": "#/$defs/Place", "description": "Where."}},
                "$defs": {"Place": {"type": "string", "description": "A place.", "minLength": 1}},
            }),
            json!({
                "type": "object",
                "properties": {"at": {"type": "string", "description": "Where.", "minLength": 1}},
            }),
        );
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        check(
            json!({
                "$ref": "#/$defs/Tree",
                "$defs": {"Tree": {"type": "object", "properties": {"sub": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}},
            }),
            json!({"type": "object", "properties": {"sub": {"type": "array", "items": {}}}}),
        );
    }

    #[test]
    fn choices_and_sums_are_said_in_one_way() {
        check(
            json!({
                "oneOf": [
                    {"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}, {"type": "null"}]}}, "required": ["a"]},
                    {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]},
                ],
            }),
            json!({
                "type": "object",
                "properties": {
                    "a": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "b": {"type": "string"},
                },
            }),
        );
        check(
            json!({"type": "object", "allOf": [
                {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": {"type": "string"}}, "required": ["b"]},
            ]}),
            json!({
                "type": "object", "required": ["a", "b"],
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            }),
        );
    }

    #[test]
    fn what_blows_up_is_refused() {
        let mut defs = Map::new();
        for level in 0..20 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            defs.insert(
                format!("d{level}"),
                json!({"type": "object", "properties": {"a": next, "b": next}}),
            );
        }
        defs.insert("d20".to_owned(), json!({"type": "string"}));
        let schema = json!({"$ref": "#/$defs/d0", "$defs": defs});
        assert!(inlined(&schema).unwrap_err().contains("too large"));
        assert!(inlined(&json!({"type": "string"})).is_err());
        assert!(inlined(&json!(true)).is_err());
    }
}
