use std::sync::Arc;

use regex::Regex;
use serde_json::json;

use super::*;
use crate::types::ObjectSchema;
use crate::workflow::{FieldId, Format, OutputField};

fn field(name: &str, ty: &str) -> Field {
    Field::named(name, Type::parse(ty).unwrap())
}

fn object(name: &str, fields: Vec<Field>) -> Field {
    Field::named(name, Type::Object(Some(Arc::new(ObjectSchema { fields }))))
}

fn required(field: Field) -> Field {
    Field {
        required: true,
        ..field
    }
}

#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
fn check(field: Field, side: Side, expected: Value) {
    let nullable = field.is_nullable();
    let schema = Value::Object(field_schema(&field, side, nullable));
    assert_eq!(schema, expected);
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
}

#[test]
fn every_type_has_its_schema() {
    check(
        required(field("f", "str")),
        Side::Input,
        json!({"type": "string"}),
    );
    check(
        required(field("f", "int")),
        Side::Input,
        json!({"type": "integer"}),
    );
    check(
        required(field("f", "float")),
        Side::Input,
        json!({"type": "number"}),
    );
    check(
        required(field("f", "bool")),
        Side::Input,
        json!({"type": "boolean"}),
    );
    check(
        required(field("f", "list")),
        Side::Input,
        json!({"type": "array"}),
    );
    check(
        required(field("f", "dict")),
        Side::Input,
        json!({"type": "object"}),
    );
    check(
        required(field("f", "dict[str, list[object]]")),
        Side::Input,
        json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "object"}}}),
    );
}

#[test]
fn optional_fields_may_be_null_and_defaults_are_named() {
    check(
        field("f", "str"),
        Side::Input,
        json!({"type": ["string", "null"], "default": null}),
    );
    let with_default = Field {
        default: Some(json!([1])),
        ..field("f", "list[int]")
    };
    let expected = json!({"type": "array", "items": {"type": "integer"}, "default": [1]});
    check(with_default, Side::Input, expected);
    check(
        field("f", "str"),
        Side::Output,
        json!({"type": ["string", "null"]}),
    );
}

#[test]
fn constraints_are_part_of_the_schema() {
    let constraints = Constraints {
        pattern: Some(Regex::new("^a").unwrap()),
        min_length: Some(1),
        max_length: Some(5),
        format: Some(Format::DateTime),
        allowed: Some(vec![json!("ab"), json!("ac")]),
        ..Constraints::default()
    };
    check(
        Field {
            constraints,
            ..field("f", "str")
        },
        Side::Output,
        json!({
            "type": ["string", "null"], "pattern": "^a", "minLength": 1, "maxLength": 5,
            "enum": ["ab", "ac", null], "format": "date-time",
        }),
    );
    let numbers = Constraints {
        minimum: Some(1.0),
        maximum: Some(2.5),
        ..Constraints::default()
    };
    let limited = required(Field {
        constraints: numbers,
        ..field("f", "float")
    });
    check(
        limited,
        Side::Output,
        json!({"type": "number", "minimum": 1, "maximum": 2.5}),
    );
    let counts = || Constraints {
        min_items: Some(1),
        max_items: Some(2),
        ..Constraints::default()
    };
    let list = required(Field {
        constraints: counts(),
        ..field("f", "list")
    });
    check(
        list,
        Side::Output,
        json!({"type": "array", "minItems": 1, "maxItems": 2}),
    );
    let dict = required(Field {
        constraints: counts(),
        ..field("f", "dict")
    });
    check(
        dict,
        Side::Output,
        json!({"type": "object", "minProperties": 1, "maxProperties": 2}),
    );
}

#[test]
fn inner_fields_are_all_required_where_a_value_comes_back() {
    let home = || {
        required(object(
            "home",
            vec![required(field("city", "str")), field("zip", "str")],
        ))
    };
    let city = json!({"type": "string"});
    check(
        home(),
        Side::Input,
        json!({
            "type": "object",
            "properties": {"city": city, "zip": {"type": ["string", "null"], "default": null}},
            "required": ["city"],
        }),
    );
    check(
        home(),
        Side::Output,
        json!({
            "type": "object",
            "properties": {"city": city, "zip": {"type": ["string", "null"]}},
            "required": ["city", "zip"],
            "additionalProperties": false,
        }),
    );
}

#[test]
fn an_answer_has_every_key_and_no_null() {
    let described = Field {
        description: Some("1 to 10".to_owned()),
        ..field("score", "int")
    };
    let outputs = [described, field("note", "str")].into_iter().enumerate();
    let fields = outputs
        .map(|(at, field)| OutputField {
            key: field.name.clone(),
            field,
            target: FieldId(at),
            nullable: false,
        })
        .collect();
    let output = Output {
        fields,
        wrapped: false,
        description: Some("a verdict".to_owned()),
    };
    assert_eq!(
        output.json_schema(),
        json!({
            "description": "a verdict",
            "type": "object",
            "properties": {"score": {"type": "integer", "description": "1 to 10"}, "note": {"type": "string"}},
            "required": ["score", "note"],
            "additionalProperties": false,
        })
    );
}
