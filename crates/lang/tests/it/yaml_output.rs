//! YAML that is written is read by `PyYAML`, which has the rules of YAML 1.1, as the value it was.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// Reads a JSON list of YAML texts and answers with the JSON list of what they hold.
const READER: &str = "
import json, sys, yaml
json.dump([yaml.safe_load(text) for text in json.load(sys.stdin)], sys.stdout, default=repr)
";

/// What `PyYAML` reads in each text; `None` where it is not installed.
fn read_by_pyyaml(texts: &[String]) -> Option<Vec<Value>> {
    let python = testing::rigs::program("yaml", "python")?;
    let mut reader = Command::new(python)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = reader.stdin.take().unwrap();
    let texts = serde_json::to_vec(texts).unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&texts).unwrap());
    let output = reader.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Writes the values, lets them be read, and compares.
#[track_caller]
fn check(values: &[Value]) {
    let texts: Vec<String> = values.iter().map(lang::yaml::to_text).collect();
    let Some(read) = read_by_pyyaml(&texts) else {
        return;
    };
    assert_eq!(read.len(), values.len());
    for ((value, text), read) in values.iter().zip(texts).zip(read) {
        assert_eq!(*value, read, "{text}");
    }
}

#[test]
fn tricky_scalars_stay_what_they_are_to_yaml_1_1() {
    let tricky = [
        "",
        " ",
        "<<",
        "=",
        "no",
        "No",
        "NO",
        "n",
        "y",
        "Y",
        "yes",
        "on",
        "On",
        "off",
        "true",
        "True",
        "FALSE",
        "null",
        "Null",
        "~",
        "none",
        "1",
        "-1",
        "+1",
        "1e22",
        "1.5e3",
        "1e+3",
        "1.0e+3",
        "1:30",
        "22:30",
        "1:30.5",
        "190:20:30",
        "2024-01-02",
        "2024-1-2",
        "2024-01-02 03:04:05",
        "2024-01-02T03:04:05Z",
        ".5",
        "5.",
        "-.5",
        "0o7",
        "0755",
        "08",
        "0x1F",
        "0b1",
        "1_000",
        "1,000",
        ".inf",
        "-.inf",
        ".nan",
        ".NaN",
        "NaN",
        "Infinity",
        "inf",
        "_",
        "-",
        "- a",
        "*a",
        "* a",
        "&a",
        "& a",
        "%a",
        "@a",
        "`a",
        "!a",
        "!!str a",
        "?",
        "? a",
        ":",
        ": a",
        "a:",
        "a: b",
        "a:b",
        "a #b",
        "#a",
        "a#b",
        "[a]",
        "{a}",
        "]",
        "}",
        ",",
        "a, b",
        "|",
        "|-",
        ">",
        "> a",
        "'",
        "''",
        "'a'",
        "\"",
        "\"a\"",
        "it's",
        "a\\b",
        "---",
        "--- a",
        "...",
        " a",
        "a ",
        "a  b",
        "\ta",
        "a\t",
        "\n",
        "a\n",
        "a\nb",
        "a\n\nb\n",
        "a\n\n\n",
        "\na",
        " a\nb",
        "a\n b",
        "a \nb",
        "a\n  \nb",
        "a\n  ",
        "a\r\nb",
        "a\rb",
        "a: b\nc",
        "- a\n- b",
        "#a\nb",
        "---\na",
        "a\n---\nb",
        "\u{0}",
        "\u{1b}[0m",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{ad}",
        "\u{2028}",
        "\u{2029}",
        "\u{feff}",
        "\u{fffe}",
        "\u{ffff}",
        "é",
        "日本",
        "💡",
        "\u{10ffff}",
        "a\u{85}b\nc",
    ];
    let mut values: Vec<Value> = tricky
        .iter()
        .flat_map(|text| {
            [
                json!(text),
                json!([text, [text]]),
                json!({ *text: text }),
                json!({ "a": { *text: [{ *text: text }], "b": 1 } }),
            ]
        })
        .collect();
    let long = "k".repeat(3000);
    values.push(json!({ long.as_str(): 1, "b": { format!("{long}: no"): [1, {"c": 2}] } }));
    values.push(json!([
        1e22,
        1e-7,
        1.5e300,
        -0.0,
        0.1,
        1.0,
        5e-324,
        1.797_693_134_862_315_7e308,
        i64::MIN,
        u64::MAX,
    ]));
    values.push(json!([[], {}, [[]], [{}], {"a": []}, {"a": {}}, null, true, false]));
    check(&values);
}

/// Any JSON value; texts lean towards what means something in YAML.
fn any_value() -> impl Strategy<Value = Value> {
    let text =
        "(\\PC|[\\x00-\\x7f]|[-+.:_0-9eEx]|[ \\n#:,~*&!|>'\"%@`{}\\[\\]<=?]|[a-z]|no|on|yes){0,12}";
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO)
            .prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text, inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

#[test]
fn any_value_is_read_by_yaml_1_1_as_it_was() {
    let mut runner = TestRunner::default();
    let strategy = any_value();
    let values: Vec<Value> = (0..3_000)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect();
    check(&values);
}
