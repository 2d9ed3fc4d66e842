//! The coercion table, computed with pydantic 2.

use std::sync::Arc;

use serde_json::json;

use super::*;

fn coerce(ty: &str, value: &Value) -> Result<Value, Vec<(String, &'static str)>> {
    let field = Field {
        required: true,
        ..Field::named("f", Type::parse(ty).unwrap())
    };
    let faults = |faults: Vec<Fault>| {
        faults
            .iter()
            .map(|fault| (fault.dotted_path(), fault.kind.as_str()))
            .collect()
    };
    field.coerce(value).map_err(faults)
}

#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
fn accept(ty: &str, value: Value, expected: Value) {
    let coerced =
        coerce(ty, &value).unwrap_or_else(|faults| panic!("{value} for {ty}: {faults:?}"));
    // Compared as text: as values, 3 and 3.0 would differ too, but true and 1 must as well.
    assert_eq!(
        coerced.to_string(),
        expected.to_string(),
        "{value} for {ty}"
    );
}

#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
fn refuse(ty: &str, value: Value, kind: &str) {
    match coerce(ty, &value) {
        Err(faults) => assert_eq!(faults, [(String::new(), kind)], "{value} for {ty}"),
        Ok(coerced) => panic!("{value} for {ty} became {coerced}"),
    }
}

#[test]
fn text_is_only_text() {
    for text in ["", " x ", "5"] {
        accept("str", json!(text), json!(text));
    }
    for value in [
        json!(5),
        json!(1.5),
        json!(true),
        json!(null),
        json!([]),
        json!({}),
    ] {
        refuse("str", value, "string_type");
    }
}

#[test]
fn int_takes_whole_numbers_and_their_texts() {
    accept("int", json!(i64::MIN), json!(i64::MIN));
    accept("int", json!(u64::MAX), json!(u64::MAX));
    accept("int", json!(true), json!(1));
    accept("int", json!(3.0), json!(3));
    accept("int", json!(-0.0), json!(0));
    accept("int", json!(1e18), json!(1_000_000_000_000_000_000_i64));
    for (text, int) in [
        ("3", 3),
        ("+3", 3),
        (" -3\n", -3),
        ("\u{a0}3", 3),
        ("0_1", 1),
        ("00012", 12),
        ("1_000_000", 1_000_000),
        ("3.0", 3),
        ("-3.00", -3),
        ("1_0.0", 10),
    ] {
        accept("int", json!(text), json!(int));
    }
    accept(
        "int",
        json!("9223372036854775808"),
        json!(9_223_372_036_854_775_808_u64),
    );
}

#[test]
fn int_refuses_the_rest() {
    refuse("int", json!(3.5), "int_from_float");
    refuse(
        "int",
        json!(9_223_372_036_854_775_808.0),
        "int_parsing_size",
    );
    refuse(
        "int",
        json!(-9_223_372_036_854_775_808.0),
        "int_parsing_size",
    );
    refuse("int", json!(1e20), "int_parsing_size");
    refuse("int", json!("18446744073709551616"), "int_parsing_size");
    refuse("int", json!("9".repeat(5000)), "int_parsing_size");
    for text in [
        "", " ", "-", "--3", "+-3", "- 3", "3 4", "x", "1__0", "_1", "1_", "+_1", "3.", ".0",
        "3.5", "1.0_0", "1e3", "0x10", "٣", "3 .0",
    ] {
        refuse("int", json!(text), "int_parsing");
    }
    for value in [json!(null), json!([1]), json!({})] {
        refuse("int", value, "int_type");
    }
}

#[test]
fn float_takes_every_number() {
    accept("float", json!(3), json!(3.0));
    accept("float", json!(true), json!(1.0));
    accept("float", json!(1e-320), json!(1e-320));
    for (text, float) in [
        ("1", 1.0),
        (" 2.5 ", 2.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("+.5e-3", 0.0005),
        ("1e3", 1000.0),
        ("1_0.5_5", 10.55),
    ] {
        accept("float", json!(text), json!(float));
    }
}

#[test]
fn float_refuses_what_json_could_not_carry() {
    for text in ["inf", "-INF", "Infinity", "nan", "+NaN", "1e999"] {
        refuse("float", json!(text), "finite_number");
    }
    for text in [
        "", "x", "2,5", "0x10", "1__0", "_1", "1_", ".", "e5", "+", "1e", "1 000", "infin", "1d",
        "١.5",
    ] {
        refuse("float", json!(text), "float_parsing");
    }
    for value in [json!(null), json!([1.5]), json!({})] {
        refuse("float", value, "float_type");
    }
}

#[test]
fn bool_takes_its_words_and_one_and_zero() {
    for value in [json!(true), json!(1), json!(1.0)] {
        accept("bool", value, json!(true));
    }
    for value in [json!(false), json!(0), json!(-0.0)] {
        accept("bool", value, json!(false));
    }
    for text in ["1", "ON", "t", "True", "y", "Yes"] {
        accept("bool", json!(text), json!(true));
    }
    for text in ["0", "off", "F", "false", "n", "NO"] {
        accept("bool", json!(text), json!(false));
    }
    for value in [
        json!(2),
        json!(-1),
        json!(2.0),
        json!(" true "),
        json!("2"),
        json!(""),
    ] {
        refuse("bool", value, "bool_parsing");
    }
    for value in [
        json!(0.5),
        json!(1e300),
        json!(u64::MAX),
        json!(null),
        json!([]),
        json!({}),
    ] {
        refuse("bool", value, "bool_type");
    }
}

#[test]
fn collections_take_only_their_kind() {
    accept("list", json!([1, "a", null]), json!([1, "a", null]));
    accept("dict", json!({"k": [null]}), json!({"k": [null]}));
    accept("list[object]", json!([{"any": 1}]), json!([{"any": 1}]));
    for value in [json!("a,b"), json!({}), json!(1), json!(null)] {
        refuse("list", value, "list_type");
    }
    for value in [json!([]), json!("{}"), json!(1), json!(null)] {
        refuse("dict", value, "dict_type");
    }
}

#[test]
fn items_and_values_are_coerced_in_place() {
    accept("list[int]", json!([1, "2", 3.0]), json!([1, 2, 3]));
    accept("dict[str, float]", json!({"a": 1}), json!({"a": 1.0}));
    accept(
        "dict[int, list[bool]]",
        json!({" 1": ["yes"]}),
        json!({" 1": [true]}),
    );
}

#[test]
fn every_faulty_part_is_named() {
    let faults = |ty: &str, value: Value| coerce(ty, &value).expect_err("faults");
    let expected = |faults: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
        faults
            .iter()
            .map(|(path, kind)| ((*path).to_owned(), *kind))
            .collect()
    };
    assert_eq!(
        faults("list[int]", json!([1, "x", 2.5])),
        expected(&[("1", "int_parsing"), ("2", "int_from_float")])
    );
    assert_eq!(
        faults("dict[int, list[str]]", json!({"x": [], "1": ["a", null]})),
        expected(&[("x", "int_parsing"), ("1.1", "string_type")])
    );
    assert_eq!(
        faults("list[object]", json!([{}, []])),
        expected(&[("1", "model_type")])
    );
}

/// `name` is required, `age` has a default, `home` is an optional object with a required `city`.
fn person() -> Field {
    let required = |name: &str| Field {
        required: true,
        ..Field::named(name, Type::Str)
    };
    let age = Field {
        default: Some(json!(7)),
        ..Field::named("age", Type::Int)
    };
    let object = |fields| Type::Object(Some(Arc::new(ObjectSchema { fields })));
    let home = Field::named("home", object(vec![required("city")]));
    Field {
        required: true,
        ..Field::named("person", object(vec![required("name"), age, home]))
    }
}

#[test]
fn objects_drop_unknown_keys_and_fill_in_the_rest() {
    let value = json!({"x": 1, "home": {"city": "Ghent", "y": 2}, "name": "Eva"});
    let expected = json!({"name": "Eva", "age": 7, "home": {"city": "Ghent"}});
    assert_eq!(
        person().coerce(&value).unwrap().to_string(),
        expected.to_string(),
        "in declaration order"
    );
    assert_eq!(
        person()
            .coerce(&json!({"name": "Eva", "home": null}))
            .unwrap()["home"],
        json!(null)
    );
}

#[test]
fn objects_report_every_level_in_declaration_order() {
    let value = json!({"home": {"zip": 1}, "age": null});
    let faults = person().coerce(&value).unwrap_err();
    let found: Vec<_> = faults
        .iter()
        .map(|fault| (fault.dotted_path(), fault.kind.as_str(), &fault.input))
        .collect();
    assert_eq!(
        found,
        [
            ("name".to_owned(), "missing", &value),
            ("age".to_owned(), "int_type", &json!(null)),
            ("home.city".to_owned(), "missing", &json!({"zip": 1})),
        ]
    );
    let faults = person()
        .coerce(&json!({"name": "Eva", "home": "Oslo"}))
        .unwrap_err();
    assert_eq!(
        (faults[0].dotted_path().as_str(), faults[0].kind.as_str()),
        ("home", "model_type")
    );
}

#[test]
fn null_fits_an_optional_field_without_default_only() {
    let optional = Field::named("f", Type::Int);
    assert_eq!(optional.coerce(&json!(null)), Ok(json!(null)));
    let with_default = Field {
        default: Some(json!(1)),
        ..optional
    };
    assert_eq!(
        with_default.coerce(&json!(null)).unwrap_err()[0].kind,
        FaultKind::IntType
    );
}
