use serde_json::json;

use super::*;
use crate::source::Source;
use crate::value::Value;
use crate::workflow::Workflow;

fn workflow(fields: &str) -> std::sync::Arc<Workflow> {
    let text = format!(
        "schema_version: '1.0'\nflow: {{name: t}}\nstate:\n  fields:\n{fields}\n    answer: {{type: str}}\n\
         nodes:\n  - {{id: a, prompt: hi, output_schema: {{type: str}}, outputs: [answer]}}\n\
         edges:\n  - {{from: START, to: a}}\n  - {{from: a, to: END}}\n"
    );
    let checked = crate::check(&Source::new("t.yaml", text));
    checked
        .workflow
        .unwrap_or_else(|| panic!("{:?}", checked.diagnostics))
}

fn secrets(values: &[&str]) -> Secrets {
    let mut secrets = Secrets::default();
    for value in values {
        secrets.add(value);
    }
    secrets
}

#[track_caller]
fn check(values: &[&str], text: &str, expected: &str) {
    assert_eq!(secrets(values).mask(text), expected);
}

#[test]
fn a_value_is_found_wherever_it_stands() {
    check(
        &["Ada Lovelace"],
        "Dear Ada Lovelace, …",
        "Dear [sensitive], …",
    );
    check(&["Ada Lovelace"], "adaADA LOVELACEs", "ada[sensitive]s");
    check(&["abcdefgh", "efghijkl"], "xabcdefghijklx", "x[sensitive]x");
    check(&["abcdefgh"], "nothing here", "nothing here");
    check(&[], "nothing to find", "nothing to find");
}

#[test]
fn a_value_is_found_however_it_is_escaped() {
    let value = "line \"one\"\nzwei größer\\ende 😀";
    for text in [
        json!(value).to_string(),
        json!(json!(value).to_string()).to_string(),
        format!("{value:?}"),
        r#"line \"one\"\nzwei gr\u00f6\u00dfer\\ende \ud83d\ude00"#.to_owned(),
        r#"line "one"\nzwei gr\xf6\xdfer\\ende \U0001f600"#.to_owned(),
        r#"line \\\"one\\\"\\nzwei gr\\u00f6\\u00dfer\\\\ende \\ud83d\\ude00"#.to_owned(),
    ] {
        let masked = secrets(&[value]).mask(&text).into_owned();
        assert!(
            masked.contains(MASK) && !masked.contains("zwei"),
            "{text} → {masked}"
        );
    }
    check(
        &["C:\\new\\taxes"],
        r#"{"path": "C:\\new\\taxes"}"#,
        r#"{"path": "[sensitive]"}"#,
    );
}

#[test]
fn short_values_are_found_as_words_and_trivial_ones_not_at_all() {
    check(
        &["Ada"],
        "Ada and Adam, ada's",
        "[sensitive] and Adam, [sensitive]'s",
    );
    check(
        &["42", "no", "true", "yes", "x", ""],
        "no 42 true x yes",
        "no 42 true x yes",
    );
    check(
        &["52000"],
        "52000, 152000, 52000.0",
        "[sensitive], 152000, [sensitive].0",
    );
    check(&["123-45-6789"], "id123-45-6789x", "id[sensitive]x");
}

#[test]
fn a_value_learned_late_is_found_too() {
    let mut secrets = Secrets::default();
    for number in 0..300 {
        secrets.add(&format!("customer-{number:04}"));
        let text = format!("customer-{number:04} and customer-0000");
        assert_eq!(secrets.mask(&text), "[sensitive] and [sensitive]");
    }
}

#[test]
fn a_value_split_over_pieces_of_a_text_is_never_shown() {
    let value = "canary-\"7f3a\"-gelb";
    let text = format!(
        "{}{{\"result\": {}}} and {value}{}",
        "before ".repeat(60),
        json!(value),
        " after".repeat(60)
    );
    for size in [1, 2, 3, 7, 50, text.len()] {
        let mut secrets = secrets(&[value]);
        let mut growing = GrowingText::default();
        let letters: Vec<char> = text.chars().collect();
        let mut shown = String::new();
        let mut pieces = 0;
        for piece in letters.chunks(size) {
            let piece: String = piece.iter().collect();
            let more = growing.push(&piece, &secrets.search());
            pieces += usize::from(more.is_some());
            shown.extend(more);
        }
        shown.extend(growing.finish(&secrets.search()));
        assert_eq!(shown, secrets.mask(&text), "in pieces of {size}");
        assert!(pieces > 3 || size > 7, "it streams");
    }
}

#[test]
fn what_stands_in_a_sensitive_field_is_hidden_whatever_it_is() {
    let workflow = workflow(
        "    age: {type: int, sensitive: true}\n    note: {type: str, sensitive: true}\n    \
         card: {type: object, schema: {number: {type: str, sensitive: true}, kind: str}}\n    plain: {type: str}",
    );
    let state = json!({"age": 7, "note": null, "card": {"number": "1", "kind": "gold"}, "plain": "p", "answer": true});
    assert_eq!(
        Value::Object(workflow.masked(state.as_object().unwrap())),
        json!({
            "age": MASK, "note": null, "card": {"number": MASK, "kind": "gold"}, "plain": "p", "answer": true
        })
    );
    // What a model gave in the place of the object may be anything.
    let odd = json!({"card": "4111 1111"});
    assert_eq!(
        workflow.masked(odd.as_object().unwrap())["card"],
        json!(MASK)
    );
}

#[test]
fn an_output_field_makes_its_state_field_sensitive() {
    let text = "schema_version: '1.0'\nflow: {name: t}\nstate:\n  fields:\n    words: {type: 'list[str]'}\n    \
         one: {type: str}\n    all: {type: list}\n    who: {type: object, schema: {name: str, id: str}}\n\
         nodes:\n  - id: a\n    prompt: '{_parallel_item}'\n    output_schema:\n      type: object\n      fields:\n        \
         - {name: one, type: str, sensitive: true}\n        - {name: who, type: object, schema: {name: str, id: {type: str, sensitive: true}}}\n    outputs: [one, who]\n  \
         - {id: b, prompt: hi, output_schema: {type: 'list[str]'}, outputs: [words]}\n\
         edges:\n  - {from: START, to: b}\n  - {from: b, parallel: {items_field: words, target_node: a, collect_field: all}}\n  \
         - {from: a, to: END}\n";
    let checked = crate::check(&Source::new("t.yaml", text));
    let workflow = checked
        .workflow
        .unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
    let state =
        json!({"words": ["a"], "one": "x", "all": [{"one": "x"}], "who": {"name": "n", "id": "i"}});
    assert_eq!(
        Value::Object(workflow.masked(state.as_object().unwrap())),
        json!({"words": ["a"], "one": MASK, "all": MASK, "who": {"name": "n", "id": MASK}})
    );
}

#[test]
fn faults_show_nothing_sensitive() {
    let workflow = workflow(
        "    codes: {type: 'dict[str, int]', sensitive: true, required: true}\n    \
         card: {type: object, schema: {number: {type: str, sensitive: true}, kind: {type: str, required: true}}}\n    plain: {type: int, required: true}",
    );
    let inputs = json!({"codes": {"canary-key": "canary"}, "card": {"number": "canary"}});
    let mut faults = workflow
        .accept_inputs(inputs.as_object().unwrap())
        .unwrap_err();
    workflow.mask_faults(&mut faults);
    assert_eq!(faults.len(), 3);
    for fault in &faults {
        assert!(!format!("{fault:?}").contains("canary"), "{fault:?}");
    }
    assert_eq!(faults[0].dotted_path(), "codes.[sensitive]");
    assert_eq!(faults[1].dotted_path(), "card.kind");
    assert_eq!(faults[1].input, json!({"number": MASK}));
    assert_eq!(faults[2].dotted_path(), "plain");
}

#[test]
fn without_a_sensitive_field_there_is_nothing_to_hide() {
    assert!(workflow("    plain: {type: str}").sensitive.is_none());
}

/// Masks a text as a whole and in pieces, and answers with how much was written.
fn masked_both_ways(values: &[String], text: &str, piece: usize) -> usize {
    let mut known = Secrets::default();
    for value in values {
        known.add(value);
    }
    let masked = known.mask(text).into_owned();
    let mut growing = GrowingText::default();
    let mut shown = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        shown.extend(growing.push(now, &known.search()));
        rest = later;
    }
    shown.extend(growing.finish(&known.search()));
    assert_eq!(shown, masked);
    masked.len()
}

#[test]
fn a_periodic_sensitive_text_is_masked_in_linear_time() {
    for period in ["a", "ab", "\\", "\\u", "\\u{", "a\\ud800", "Ada "] {
        testing::work::grows_linearly(
            &format!("masking of a text of {period:?}"),
            |times| period.repeat(times),
            |value| {
                let almost = format!("{}!{value}!", &value[..value.len() - 1]);
                masked_both_ways(&[value], &almost, 7)
            },
        );
    }
}

#[test]
fn overlapping_sensitive_values_take_linear_time_and_memory() {
    // Each is the end of the next: a list of what ends at each place would be a square.
    let nested = |times: usize| -> Vec<String> {
        let lengths = 8..8 + times.isqrt();
        lengths.map(|length| "a".repeat(length)).collect()
    };
    testing::work::grows_linearly(
        "masking of nested values",
        |times| (nested(times * 16), "a".repeat(times)),
        |(mut values, text)| {
            values.push(text.repeat(2));
            masked_both_ways(&values, &format!("{text}b{text}"), 64)
        },
    );
    let masked = secrets(&["abcdefgh", "bcdefghi", "cdefghij"])
        .mask("abcdefghij")
        .into_owned();
    assert_eq!(masked, MASK, "one mask for all of it");
}

#[test]
fn a_text_that_grows_by_single_letters_is_not_searched_again() {
    testing::work::grows_linearly(
        "masking of deltas",
        |times| "x".repeat(times),
        |value| {
            let text = format!("{value}{value}y{value}");
            masked_both_ways(&[value], &text, 1)
        },
    );
}

#[test]
fn a_run_that_learns_values_one_by_one_does_not_search_ever_longer() {
    testing::work::grows_linearly(
        "learning of values",
        |times| times,
        |times| {
            let mut known = Secrets::default();
            let mut written = 0;
            for number in 0..times {
                known.add(&format!("customer-{number:08}"));
                written += known.mask("nobody").len();
            }
            written
        },
    );
}

#[test]
fn a_number_that_is_learned_as_a_text_too_is_found_inside_words() {
    let mut known = Secrets::default();
    known.add_number("123456789");
    assert_eq!(known.mask("id123456789x"), "id123456789x");
    known.add("123456789");
    assert_eq!(known.mask("id123456789x"), "id[sensitive]x");
}

#[test]
fn a_value_learned_while_its_text_arrives_is_hidden_from_there_on() {
    let mut known = secrets(&["abcdefghXY"]);
    let mut growing = GrowingText::default();
    let mut shown = growing
        .push("so abcdefgh", &known.search())
        .unwrap_or_default();
    assert_eq!(shown, "so ");
    known.add("abcdefgh and");
    known.add("Bob");
    shown.extend(growing.push(" and Bob", &known.search()));
    shown.extend(growing.push("by, Bob", &known.search()));
    shown.extend(growing.finish(&known.search()));
    assert_eq!(shown, "so [sensitive] Bobby, [sensitive]");
}

proptest::proptest! {
    #[test]
    fn no_text_around_a_value_hides_it(
        value in "[a-zé\"\\\\\n ]{3}[a-z😀\\\\]{8,20}", before in ".{0,30}", after in ".{0,30}", deep in 0..3_usize, size in 1..9_usize
    ) {
        let mut written = value.clone();
        for _ in 0..deep {
            written = json!(written).to_string();
        }
        let text = format!("{before}{written}{after}");
        let mut known = secrets(&[&value]);
        let masked = known.mask(&text).into_owned();
        proptest::prop_assert!(masked.contains(MASK), "{text:?}");
        proptest::prop_assert!(!masked.contains(value.trim()), "{masked:?}");
        let mut growing = GrowingText::default();
        let mut shown = String::new();
        for piece in text.chars().collect::<Vec<_>>().chunks(size) {
            let piece: String = piece.iter().collect();
            shown.extend(growing.push(&piece, &known.search()));
        }
        shown.extend(growing.finish(&known.search()));
        proptest::prop_assert_eq!(shown, masked);
    }

    #[test]
    fn any_text_can_be_masked(text in "(\\\\|u|U|x|[0-9a-fdD8{}]|.){0,60}", value in ".{0,12}") {
        let mut known = secrets(&[&value]);
        let _ = known.mask(&text);
        let _ = known.mask_value(&json!({text.clone(): [text]}));
    }
}
