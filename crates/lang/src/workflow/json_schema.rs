//! JSON Schemas (2020-12) of a workflow's inputs and outputs and of a node's answer.

use serde_json::json;

use crate::field::{Constraints, Field, ObjectSchema, Type};
use crate::types::bound;
use crate::value::{Map, Value};

use super::Workflow;
use super::output::Output;
use super::settings::AdditionalInputs;

/// What a schema describes; decides what is required and what may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// What callers may give: only `required` fields are, defaults are named, unknown keys are
    /// dropped.
    Input,
    /// What comes back, from a run or a model: every key is there.
    Output,
}

impl Workflow {
    /// JSON Schema (2020-12) of the inputs: every state field, those that nodes write marked by
    /// `x-written-by` with the nodes' ids, sensitive ones by `x-sensitive`.
    pub fn input_schema(&self) -> Value {
        let mut schema = self.state_schema(Side::Input);
        for (field, bound) in self.bounds_of_items() {
            let property = &mut schema["properties"][&self.fields[field.0].name];
            let known = property["maxItems"].as_u64();
            let bound = bound.max_items.and_then(|max| u64::try_from(max).ok());
            property["maxItems"] = json!(known.into_iter().chain(bound).min());
        }
        if self.additional_inputs == AdditionalInputs::Forbid {
            schema.insert("additionalProperties".to_owned(), json!(false));
        }
        Value::Object(schema)
    }

    /// JSON Schema (2020-12) of the outputs: the whole final state, every field required,
    /// `x-written-by` naming the nodes that write it.
    pub fn output_schema(&self) -> Value {
        Value::Object(self.state_schema(Side::Output))
    }

    fn state_schema(&self, side: Side) -> Map<String, Value> {
        let mut schema = Map::new();
        schema.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert("title".to_owned(), json!(self.name));
        if let Some(description) = &self.description {
            schema.insert("description".to_owned(), json!(description));
        }
        let properties = self.fields.iter().map(|field| {
            let mut property = field_schema(field, side, field.is_nullable());
            if field.sensitive {
                property.insert("x-sensitive".to_owned(), json!(true));
            }
            if !field.written_by.is_empty() {
                let nodes: Vec<&str> = field
                    .written_by
                    .iter()
                    .map(|node| self.nodes[node.0].id.as_str())
                    .collect();
                property.insert("x-written-by".to_owned(), json!(nodes));
            }
            (field.name.clone(), Value::Object(property))
        });
        let required = self
            .fields
            .iter()
            .filter(|field| side == Side::Output || field.required);
        schema.extend(object_schema(
            properties.collect(),
            required.map(|field| field.name.as_str()),
            side,
        ));
        schema
    }
}

impl Output {
    /// JSON Schema a model's answer must fit: an object, every key required, no others; inner
    /// objects likewise, where an optional inner field may be null.
    pub fn json_schema(&self) -> Value {
        let mut schema = Map::new();
        if let Some(description) = &self.description {
            schema.insert("description".to_owned(), json!(description));
        }
        let property = |field| Value::Object(field_schema(field, Side::Output, false));
        let properties = self
            .fields
            .iter()
            .map(|output| (output.key.clone(), property(&output.field)));
        let required = self.fields.iter().map(|output| output.key.as_str());
        schema.extend(object_schema(properties.collect(), required, Side::Output));
        Value::Object(schema)
    }
}

fn object_schema<'a>(
    properties: Map<String, Value>,
    required: impl Iterator<Item = &'a str>,
    side: Side,
) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), json!(required.collect::<Vec<_>>()));
    if side == Side::Output {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    schema
}

fn field_schema(field: &Field, side: Side, nullable: bool) -> Map<String, Value> {
    let mut schema = type_schema(&field.ty, side);
    add_constraints(&mut schema, &field.constraints, &field.ty);
    if nullable {
        if let Some(name) = schema.get_mut("type") {
            *name = json!([name.take(), "null"]);
        }
        if let Some(Value::Array(allowed)) = schema.get_mut("enum") {
            allowed.push(Value::Null);
        }
    }
    if let Some(description) = &field.description {
        schema.insert("description".to_owned(), json!(description));
    }
    if side == Side::Input && !field.required {
        schema.insert(
            "default".to_owned(),
            field.default.clone().unwrap_or_default(),
        );
    }
    schema
}

fn type_schema(ty: &Type, side: Side) -> Map<String, Value> {
    let (name, extra) = match ty {
        Type::Str => ("string", None),
        Type::Int => ("integer", None),
        Type::Float => ("number", None),
        Type::Bool => ("boolean", None),
        Type::List(None) => ("array", None),
        Type::List(Some(item)) => ("array", Some(("items", type_schema(item, side)))),
        Type::Dict(None) | Type::Object(None) => ("object", None),
        Type::Dict(Some(types)) => (
            "object",
            Some(("additionalProperties", type_schema(&types.1, side))),
        ),
        Type::Object(Some(schema)) => return inner_schema(schema, side),
    };
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!(name));
    schema.extend(extra.map(|(key, inner)| (key.to_owned(), Value::Object(inner))));
    schema
}

fn inner_schema(object: &ObjectSchema, side: Side) -> Map<String, Value> {
    let properties = object.fields.iter().map(|field| {
        (
            field.name.clone(),
            Value::Object(field_schema(field, side, field.is_nullable())),
        )
    });
    let required = object
        .fields
        .iter()
        .filter(|field| side == Side::Output || field.required);
    object_schema(
        properties.collect(),
        required.map(|field| field.name.as_str()),
        side,
    )
}

fn add_constraints(schema: &mut Map<String, Value>, constraints: &Constraints, ty: &Type) {
    let (min_count, max_count) = match ty {
        Type::Dict(_) | Type::Object(_) => ("minProperties", "maxProperties"),
        _ => ("minItems", "maxItems"),
    };
    let all = [
        (
            "pattern",
            constraints
                .pattern
                .as_ref()
                .map(|pattern| json!(pattern.as_str())),
        ),
        (
            "minLength",
            constraints.min_length.map(|length| json!(length)),
        ),
        (
            "maxLength",
            constraints.max_length.map(|length| json!(length)),
        ),
        (
            "minimum",
            constraints.minimum.map(|limit| bound(limit, true)),
        ),
        (
            "maximum",
            constraints.maximum.map(|limit| bound(limit, true)),
        ),
        (
            "enum",
            constraints.allowed.as_ref().map(|allowed| json!(allowed)),
        ),
        (
            "format",
            constraints.format.map(|format| json!(format.as_str())),
        ),
        (min_count, constraints.min_items.map(|count| json!(count))),
        (max_count, constraints.max_items.map(|count| json!(count))),
    ];
    schema.extend(
        all.into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?))),
    );
}

#[cfg(test)]
mod tests;
