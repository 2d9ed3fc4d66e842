use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
fn check(value: Value, expected: &str) {
    let mut written = String::new();
    write_str(&mut written, &value, None);
    assert_eq!(written, expected, "{value}");
}

#[test]
fn single_values_are_written_plainly() {
    check(json!("it's\n\"so\""), "it's\n\"so\"");
    check(json!(true), "True");
    check(json!(false), "False");
    check(json!(null), "None");
    check(json!(-12), "-12");
    check(json!(u64::MAX), "18446744073709551615");
}

#[test]
fn floats_are_shortest_with_exponents_at_the_ends() {
    check(json!(3.0), "3.0");
    check(json!(0.1), "0.1");
    check(json!(-0.0), "-0.0");
    check(json!(1e15), "1000000000000000.0");
    check(json!(9_999_999_999_999_998.0), "9999999999999998.0");
    check(json!(1e16), "1e+16");
    check(json!(1.5e16), "1.5e+16");
    check(json!(0.0001), "0.0001");
    check(json!(0.00001), "1e-05");
    check(json!(-1.25e-7), "-1.25e-07");
    check(json!(5e-324), "5e-324");
    check(
        json!(1.797_693_134_862_315_7e308),
        "1.7976931348623157e+308",
    );
}

#[test]
fn collections_are_literals() {
    check(json!([]), "[]");
    check(json!({}), "{}");
    check(
        json!({"k": [1, 2.0, true, null, {"x": "y"}], "2": "t"}),
        "{'k': [1, 2.0, True, None, {'x': 'y'}], '2': 't'}",
    );
}

#[test]
fn texts_inside_collections_are_quoted() {
    check(
        json!(["it's", "say \"hi\"", "both ' and \"", "back\\slash", ""]),
        r#"["it's", 'say "hi"', 'both \' and "', 'back\\slash', '']"#,
    );
    check(json!(["a\nb\r\tc\u{0}\u{7f}"]), r"['a\nb\r\tc\x00\x7f']");
    check(
        json!(["\u{a0}\u{ad}\u{200b}\u{2028}\u{feff}\u{e000}\u{f0000}"]),
        r"['\xa0\xad\u200b\u2028\ufeff\ue000\U000f0000']",
    );
    check(json!(["é中🐎"]), "['é中🐎']");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1e20..1e20).prop_map(Value::from),
        "[ -~]{0,8}|[\\x00-\u{2fff}'\"\\\\]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z'\u{e9}]{0,4}", inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Writes what `str()` makes of each line of JSON, unless a character's printability depends on the
/// version of Unicode.
const ORACLE: &str = "
import json, sys, unicodedata
def settled(text): return all(unicodedata.category(c) != 'Cn' for c in text)
for line in sys.stdin.buffer.read().decode().split('\\n')[:-1]:
    value = json.loads(line)
    print(json.dumps(str(value) if settled(json.dumps(value, ensure_ascii=False)) else None))
";

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn agrees_with_python() {
    let mut runner = TestRunner::deterministic();
    let values: Vec<Value> = (0..2000)
        .map(|_| any_json().new_tree(&mut runner).unwrap().current())
        .collect();
    let command = Command::new("python3")
        .args(["-c", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut python) = command else {
        eprintln!("skipped: no python3 on this machine");
        return;
    };
    let lines: Vec<String> = values.iter().map(ToString::to_string).collect();
    let lines = lines.join(
        "
",
    ) + "
";
    let mut stdin = python.stdin.take().unwrap();
    let writer =
        std::thread::spawn(move || std::io::Write::write_all(&mut stdin, lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();

    let answers: Vec<Option<String>> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), values.len());
    for (value, answer) in values.into_iter().zip(answers) {
        if let Some(expected) = answer {
            check(value, &expected);
        }
    }
}
