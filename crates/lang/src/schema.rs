//! The file format described for machines: its JSON Schema, so that editors complete and check
//! workflow files, and the list of its keys, so that a test can compare the reference with it. Both
//! are made from the tables that files are checked against. The schemas of one workflow's inputs
//! and outputs are not here but with [`crate::workflow::Workflow`].

use serde_json::{Map, Value, json};

use crate::syntax::FILE;
use crate::syntax::grammar::{Key, NO_LIMIT, Shape, Table};

/// JSON Schema (2020-12) of the file format. It accepts every valid file written with the
/// documented spellings; names, types of fields and the graph are beyond it.
pub fn language() -> Value {
    let mut definitions = Map::new();
    let top = mapping(&FILE, &mut definitions);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "flowmill workflow",
    });
    if let (Some(schema), Value::Object(top)) = (schema.as_object_mut(), top) {
        schema.extend(top);
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    schema
}

/// A key of the file format.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyInfo {
    /// Dotted, with `*` for a list's items and a mapping's free keys: `nodes.*.llm.model`.
    pub path: String,
    /// Other spellings of the last part.
    pub aliases: &'static [&'static str],
    /// What a value may be, in words.
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// The default as JSON text.
    pub default: Option<&'static str>,
    /// What the key is for.
    pub doc: &'static str,
}

/// Every key of the file format, sections before what is in them. What can be nested without end
/// (the schema of an object inside the schema of an object) is listed once.
pub fn keys() -> Vec<KeyInfo> {
    let mut keys = Vec::new();
    list_table(&FILE, "", &mut Vec::new(), &mut keys);
    keys
}

fn list_table(
    table: &'static Table,
    path: &str,
    open: &mut Vec<&'static str>,
    keys: &mut Vec<KeyInfo>,
) {
    if open.contains(&table.name) {
        return;
    }
    open.push(table.name);
    for key in table.keys {
        let path = if path.is_empty() {
            key.name.to_owned()
        } else {
            format!("{path}.{}", key.name)
        };
        keys.push(KeyInfo {
            path: path.clone(),
            aliases: key.aliases,
            kind: key.shape.describe(),
            required: key.required,
            default: key.default,
            doc: key.doc,
        });
        list_shape(&key.shape, &path, open, keys);
    }
    open.pop();
}

fn list_shape(
    shape: &'static Shape,
    path: &str,
    open: &mut Vec<&'static str>,
    keys: &mut Vec<KeyInfo>,
) {
    match shape {
        Shape::Mapping(table) => list_table(table, path, open, keys),
        Shape::List(inner, _) | Shape::Open(_, inner, _) => {
            list_shape(inner, &format!("{path}.*"), open, keys);
        }
        Shape::Either(shapes) => {
            for shape in *shapes {
                list_shape(shape, path, open, keys);
            }
        }
        _ => {}
    }
}

/// The schema of a mapping with known keys.
fn mapping(table: &'static Table, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut spelled = Vec::new();
    for key in table.keys {
        for name in std::iter::once(&key.name).chain(key.aliases) {
            let mut schema = described(key, definitions);
            if let (true, Some(schema)) = (*name != key.name, schema.as_object_mut()) {
                schema.insert("deprecated".to_owned(), Value::Bool(true));
            }
            properties.insert((*name).to_owned(), schema);
        }
        match (key.required, key.aliases, key.unless) {
            (false, ..) => {}
            (true, [], []) => required.push(key.name),
            (true, aliases, others) => {
                let names = std::iter::once(&key.name).chain(aliases);
                let mut ways: Vec<Value> =
                    names.map(|name| json!({ "required": [name] })).collect();
                ways.extend(others.iter().map(|(other, wanted)| match wanted {
                    Some(wanted) => {
                        json!({ "required": [other], "properties": { (*other): { "const": wanted } } })
                    }
                    None => json!({ "required": [other] }),
                }));
                spelled.push(json!({ "anyOf": ways }));
            }
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    if let Some(schema) = schema.as_object_mut() {
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if let [one] = spelled.as_slice() {
            schema.insert("anyOf".to_owned(), one["anyOf"].clone());
        } else if !spelled.is_empty() {
            schema.insert("allOf".to_owned(), Value::Array(spelled));
        }
    }
    schema
}

/// A key's schema with its description, default, and null where null counts as absent.
fn described(key: &'static Key, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = value(&key.shape, definitions);
    let nullable = !key.required && key.default.is_none() && !matches!(key.shape, Shape::Any);
    if nullable {
        schema = json!({ "anyOf": [schema, { "type": "null" }] });
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), Value::String(key.doc.to_owned()));
        if let Some(default) = key
            .default
            .and_then(|default| serde_json::from_str(default).ok())
        {
            schema.insert("default".to_owned(), default);
        }
    }
    schema
}

/// The schema of a value. Numbers and truth values may also be text that reads as one.
fn value(shape: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Text | Shape::Template | Shape::Condition | Shape::Type => {
            json!({ "type": "string" })
        }
        Shape::Name => json!({ "type": "string", "pattern": "\\S" }),
        Shape::Variable => {
            json!({ "type": "string", "pattern": "^\\s*([A-Za-z_][A-Za-z0-9_]*)?\\s*$" })
        }
        Shape::Version => json!({ "enum": [crate::syntax::VERSION, 1.0] }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::AnyCaseWord(words) => {
            let words: Vec<String> = words.iter().map(|word| any_case(word)).collect();
            json!({ "type": "string", "pattern": format!("^({})$", words.join("|")) })
        }
        Shape::Bool => json!({ "anyOf": [{ "type": "boolean" }, { "enum": [0, 1] }, {
            "type": "string",
            "pattern": format!("^({})$", ["0", "1", "off", "on", "f", "t", "false", "true", "n", "y", "no", "yes"].map(any_case).join("|")),
        }] }),
        Shape::Int(least, most) => {
            let mut schema = json!({
                "type": ["integer", "string", "boolean"],
                "minimum": least,
                "pattern": "^\\s*[+-]?[0-9][0-9_]*(\\.0*)?\\s*$",
            });
            if let (Some(schema), true) = (schema.as_object_mut(), *most != NO_LIMIT) {
                schema.insert("maximum".to_owned(), json!(most));
            }
            schema
        }
        Shape::Float(least, most) => {
            let mut schema = number();
            if let Some(schema) = schema.as_object_mut() {
                if *least > f64::MIN {
                    schema.insert("minimum".to_owned(), json!(least));
                }
                if *most < f64::MAX {
                    schema.insert("maximum".to_owned(), json!(most));
                }
            }
            schema
        }
        Shape::Above(limit) => {
            let mut schema = number();
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("exclusiveMinimum".to_owned(), json!(limit));
            }
            schema
        }
        Shape::Any => json!({}),
        Shape::Mapping(table) => {
            let name = table.name.replace(' ', "_");
            if !definitions.contains_key(&name) {
                // Claimed first, so that a table that contains itself ends.
                definitions.insert(name.clone(), Value::Null);
                let schema = mapping(table, definitions);
                definitions.insert(name.clone(), schema);
            }
            json!({ "$ref": format!("#/$defs/{name}") })
        }
        Shape::List(inner, least) => {
            json!({ "type": "array", "items": value(inner, definitions), "minItems": least })
        }
        Shape::Open(_, inner, least) => {
            json!({ "type": "object", "additionalProperties": value(inner, definitions), "minProperties": least })
        }
        Shape::Either(shapes) => {
            let shapes: Vec<Value> = shapes
                .iter()
                .map(|shape| value(shape, definitions))
                .collect();
            json!({ "anyOf": shapes })
        }
    }
}

fn number() -> Value {
    json!({
        "type": ["number", "string", "boolean"],
        "pattern": "^\\s*[+-]?([0-9][0-9_]*\\.?[0-9_]*|\\.[0-9][0-9_]*)([eE][+-]?[0-9]+)?\\s*$",
    })
}

/// A pattern for a word in any letter case.
fn any_case(word: &str) -> String {
    word.chars()
        .map(|letter| {
            if letter.is_ascii_alphabetic() {
                format!(
                    "[{}{}]",
                    letter.to_ascii_lowercase(),
                    letter.to_ascii_uppercase()
                )
            } else {
                letter.to_string()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
