use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::chat::AnswerFilter;

/// An output of these properties, which are all texts, unless they are `children`, a list of the
/// same.
fn output(properties: &'static [&'static str]) -> OutputFormat {
    fn fits(properties: &[&str], answer: &Value) -> bool {
        answer.is_object()
            && properties.iter().all(|name| match answer.get(*name) {
                Some(Value::Array(items)) if *name == "children" => {
                    items.iter().all(|item| fits(properties, item))
                }
                Some(Value::String(_)) => *name != "children",
                _ => false,
            })
    }
    let described: serde_json::Map<_, _> = properties
        .iter()
        .map(|name| ((*name).to_owned(), json!({})))
        .collect();
    OutputFormat {
        name: "Output_ask".into(),
        description: None,
        schema: Arc::new(json!({"type": "object", "properties": described})),
        filter: AnswerFilter::new(move |answer| fits(properties, answer)),
    }
}

fn read(text: &str, output: &OutputFormat) -> Content {
    content(Body::Text(text.to_owned()), Some(output))
}

fn any_object() -> OutputFormat {
    OutputFormat {
        filter: AnswerFilter::default(),
        ..output(&[])
    }
}

#[track_caller]
fn check(text: &str, expected: Option<Value>) {
    let expected = expected.map_or_else(|| Content::Text(text.to_owned()), Content::Json);
    assert_eq!(read(text, &any_object()), expected);
}

#[test]
fn json_as_it_stands() {
    check(r#" {"a": 1} "#, Some(json!({"a": 1})));
    check("5", Some(json!(5)));
}

#[test]
fn fences_and_prose_around_an_object() {
    check("```json\n{\"a\": 1}\n```", Some(json!({"a": 1})));
    check(
        "Sure! Here it is: {\"a\": {\"b\": \"}\"}} Hope this helps {x}.",
        Some(json!({"a": {"b": "}"}})),
    );
    check("Use {braces}: {\"a\": 1}", Some(json!({"a": 1})));
    check(
        "<think>{\"a\": 0}?</think>{\"a\": 1}",
        Some(json!({"a": 1})),
    );
}

#[test]
fn no_object_stays_text() {
    check("I cannot do that.", None);
    check("{\"a\": 1", None);
    check("Here: {\"a\": {\"b\": 1}, \"c\": ", None);
    check(&"{".repeat(100_000), None);
    check(&"{\"a\":".repeat(10_000), None);
    check("As [1] and [2, 3] say, [see below] {and here}.", None);
}

#[test]
fn free_text_is_never_read_as_json() {
    assert_eq!(
        content(Body::Text("{}".to_owned()), None),
        Content::Text("{}".to_owned())
    );
}

/// What is read of a text where `{"result": TEXT}` is wanted; `None` for nothing that fits.
fn result(text: &str) -> Option<String> {
    let output = output(&["result"]);
    match read(text, &output) {
        Content::Json(value) if output.filter.accepts(&value) => {
            Some(value["result"].as_str()?.to_owned())
        }
        _ => None,
    }
}

#[track_caller]
fn check_result(text: &str, expected: Option<&str>) {
    assert_eq!(result(text).as_deref(), expected, "{text}");
}

/// The name of the node that is read, where `{"name": TEXT, "children": [NODES]}` is wanted.
#[track_caller]
fn check_node(text: &str, expected: Option<&str>) {
    let output = output(&["name", "children"]);
    let name = match read(text, &output) {
        Content::Json(value) if output.filter.accepts(&value) => {
            value["name"].as_str().map(str::to_owned)
        }
        _ => None,
    };
    assert_eq!(name.as_deref(), expected, "{text}");
}

#[test]
fn an_object_inside_of_a_malformed_answer_is_never_the_answer() {
    const CHILDREN: &str = r#""children":[{"name":"INNER","children":[]}]"#;
    for (name, expected) in [
        (r#""it\'s root""#, Some("it's root")),
        ("\"two\nlines\"", Some("two\nlines")),
        ("\"a\ttab\"", Some("a\ttab")),
        (r#""\ud83d""#, Some("\u{fffd}")),
        (r#""C:\dir""#, None),
        ("NaN", None),
        ("1e999", None),
        ("undefined", None),
        (r#""say "hi"""#, None),
        (r#""a", "b""#, None),
        ("", None),
        ("…", None),
        (r#""a" "b""#, None),
        ("\"never ends", None),
        ("{", None),
        ("[", None),
        ("<name>", None),
    ] {
        for text in [
            format!("{{\"name\":{name},{CHILDREN}}}"),
            format!("{{{CHILDREN},\"name\":{name}}}"),
            format!("Sure!\n```json\n{{\"name\":{name},{CHILDREN}}}\n```\nDone."),
        ] {
            check_node(&text, expected);
        }
    }
    check_node(&format!("{{\"name\":\"root\",{CHILDREN},}}"), Some("root"));
    check_node(&format!("{{'name':'root',{CHILDREN},}}"), Some("root"));
    check_node(&format!("{{name: \"root\",{CHILDREN}}}"), Some("root"));
    for text in [
        // The beginning or the end is missing.
        format!("\"name\":\"root\",{CHILDREN}}}"),
        format!("{{\"name\":\"root\",{CHILDREN}"),
        format!("{{ first name: \"root\",{CHILDREN}}}"),
        format!("{{“name”: “root”, {CHILDREN}}}"),
        format!("{{it's: \"root\",{CHILDREN}}}"),
        format!("[\"a\" b, {{\"name\":\"x\",{CHILDREN}}}]"),
        format!("{{1: {{\"name\":\"x\",{CHILDREN}}}}}"),
    ] {
        check_node(&text, None);
    }
}

#[test]
fn a_text_with_quotes_of_its_own_is_a_misfit() {
    check_result(r#"{"result": "cut {"result": "evil"}"#, None);
    check_result(r#"{"result": "cut {"result": "evil"}"}"#, None);
    check_result(r#"{"result": "x", y } {"result": "evil"} "}"#, None);
    check_result(r#"{"result": "say "", {"result": "evil"}, ""}"#, None);
    check_result(r#"{"result": "cut at \"#, None);
}

#[test]
fn of_several_objects_the_last_that_fits_counts() {
    check_result(r#"{"result": "one"} {"result": "two"}"#, Some("two"));
    check_result(r#"{"result": "one"} {"other": "two"}"#, Some("one"));
    check_result(
        "```json\n{\"result\": \"one\"}\n```\nBetter:\n```json\n{\"result\": \"two\"}\n```",
        Some("two"),
    );
    check_result(
        "{\"result\": \"one\"}\nsee [1], [\"a\"] and {b}",
        Some("one"),
    );
    // A search goes on behind what is malformed, where its end is known.
    check_result(r#"{"result": NaN} {"result": "two"}"#, Some("two"));
    // What comes last is what was meant.
    check_result(r#"{"result": "one"} {"result": NaN}"#, None);
    check_result(r#"{"result": "one"} {"result": "tw"#, None);
    // One brace too many, or each of them doubled.
    check_result(r#"{"result": "one"}}"#, Some("one"));
    check_result(r#"{{"result": "one"}}"#, Some("one"));
}

#[test]
fn a_thought_holds_no_answer() {
    for (open, close) in [
        ("<think>", "</think>"),
        ("<thinking>", "</thinking>"),
        ("<THINKING>", "</Thinking>"),
        ("<reasoning>", "</reasoning>"),
        ("<thought>", "</thought>"),
        ("◁think▷", "◁/think▷"),
        ("[THINK]", "[/THINK]"),
    ] {
        let draft = r#"First idea: {"result": "DRAFT"}. Hmm"#;
        let answer = r#"{"result": "ANSWER"}"#;
        check_result(&format!("{open}{draft}"), None);
        check_result(&format!("{open}{draft}{close}"), None);
        check_result(&format!("{open}{draft}{close}\n{answer}"), Some("ANSWER"));
        check_result(&format!("{draft}{close}{answer}"), Some("ANSWER"));
        check_result(&format!("{draft}{close}"), None);
        check_result(&format!("{open}a {open}b{close} {draft}"), None);
        check_result(
            &format!("{open}a \"quote, {{\"x\": {draft}{close}{answer}"),
            Some("ANSWER"),
        );
        check_result(
            &format!("lost {{\"x\": \"y\" {draft}{close}{answer}"),
            Some("ANSWER"),
        );
        check_result(&format!("{answer}{open}{draft}"), Some("ANSWER"));
        // In a text of the answer it is nothing but a word.
        check_result(
            &format!("Here: {{\"result\": \"write {open}\"}}"),
            Some(&format!("write {open}")),
        );
    }
    check_result(
        "<|channel|>analysis<|message|>{\"result\": \"DRAFT\"}<|end|><|start|>assistant<|channel|>final<|message|>{\"result\": \"ANSWER\"}",
        Some("ANSWER"),
    );
    check_result(
        "<|channel|>analysis<|message|>{\"result\": \"DRAFT\"}",
        None,
    );
}

#[test]
fn an_answer_wrapped_in_one_key_or_in_a_text_is_unwrapped_when_it_fits() {
    for text in [
        r#"{"input": {"result": "x"}}"#,
        r#"{"Output_ask": {"result": "x"}}"#,
        r#"{"parameters": {"result": "x"}}"#,
        r#"{"result": {"result": "x"}}"#,
        r#"{"name": "Output_ask", "arguments": {"result": "x"}}"#,
        r#"{"type": "function", "function": {"name": "Output_ask", "arguments": "{\"result\": \"x\"}"}}"#,
        r#""{\"result\": \"x\"}""#,
        r#"{"input": "{\"result\": \"x\"}"}"#,
        r#"[{"result": "x"}]"#,
        "Here: {\"input\": {\"result\": \"x\"}}",
    ] {
        check_result(text, Some("x"));
    }
    // It fits as it is, whatever is in it.
    check_result(
        r#"{"result": "{\"result\": \"x\"}"}"#,
        Some(r#"{"result": "x"}"#),
    );
    for text in [
        r#"{"draft": {"result": "x"}, "final": {"result": "y"}}"#,
        r#"[{"result": "x"}, {"result": "y"}]"#,
        r#"{"a": {"b": {"c": {"d": {"e": {"result": "x"}}}}}}"#,
        r#"{"input": {"other": "x"}}"#,
    ] {
        check_result(text, None);
    }
    // A property is a part of an answer.
    check_node(r#"{"children": {"name": "INNER", "children": []}}"#, None);
    check_node(r#"{"root": {"name": "x", "children": []}}"#, Some("x"));
    check_node(r#"{"name": "x", "children": "[]"}"#, Some("x"));
}

fn beside(body: Body, aside: FallbackText, finish: FinishReason) -> Content {
    let mut answer = Answer {
        body,
        aside,
        usage: Reported::default(),
        finish,
        reason: None,
        model: None,
        calls: Vec::new(),
        opaque: Vec::new(),
    };
    answer.content(Some(&output(&["result"])))
}

#[test]
fn reasoning_is_the_answer_only_where_there_is_none_and_it_ends_in_one() {
    let check = |reasoning: &str, finish, expected: Option<&str>| {
        let aside = FallbackText::Reasoning(reasoning.to_owned());
        let expected = match expected {
            Some(text) => Content::Json(json!({"result": text})),
            None => Content::Text(String::new()),
        };
        assert_eq!(
            beside(Body::Text(String::new()), aside, finish),
            expected,
            "{reasoning}"
        );
    };
    let stop = FinishReason::Stop;
    check(r#"{"result": "x"}"#, stop, Some("x"));
    check(
        "Hm. So:\n```json\n{\"result\": \"x\"}\n```\n",
        stop,
        Some("x"),
    );
    check(
        "{\"result\": \"a\"}? Better {\"result\": \"b\"}",
        stop,
        Some("b"),
    );
    check(
        "Maybe {\"result\": \"x\"}, or not. Let me think",
        stop,
        None,
    );
    check(r#"{"result": "x"}"#, FinishReason::Length, None);
    check("Okay, the user wants a greeting", stop, None);
}

#[test]
fn the_text_beside_a_call_counts_where_the_call_does_not_fit() {
    let text = || FallbackText::Text("{\"result\": \"beside\"}".to_owned());
    let stop = FinishReason::Stop;
    assert_eq!(
        beside(Body::Text("{}".to_owned()), text(), stop),
        Content::Json(json!({"result": "beside"}))
    );
    assert_eq!(
        beside(Body::Json(json!({"result": "call"})), text(), stop),
        Content::Json(json!({"result": "call"}))
    );
}

#[test]
fn why_a_text_holds_no_object_is_told_without_a_word_of_it() {
    let check = |text: &str, expected: &str| assert_eq!(why_no_object(text), expected);
    check(" \n", "the answer is empty");
    check("Sorry.", "the answer is not a JSON object");
    check(
        "{\"a\": secret}",
        "the answer is not a JSON object: it is not valid JSON (a word that JSON does not have at line 1, column 7)",
    );
    check(
        "So:\n{\"a\": \"C:\\dir\"}",
        "the answer is not a JSON object: it is not valid JSON (an escape that JSON does not have at line 2, column 10)",
    );
    check(
        "{\"a\": \"b",
        "the answer is not a JSON object: it is not valid JSON (it ends inside of a text at line 1, column 9)",
    );
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    /// Pieces that answers are made of, whole and broken.
    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            ":",
            ",",
            "\\",
            "\\u",
            "\n",
            " ",
            "a",
            "1",
            "NaN",
            "//",
            "/*",
            "*/",
            "<think>",
            "</think>",
            "◁think▷",
            "```json\n",
            "{\"result\": \"in\"}",
            "\"result\"",
            "ü",
            "{{",
            "}}",
        ])
    }

    proptest! {
        /// Whatever stands around it: an object that is the value of a key is not found on its own.
        #[test]
        fn an_object_nested_in_a_malformed_one_never_wins(
            before in prop::collection::vec(piece(), 0..12),
            after in prop::collection::vec(piece(), 0..12),
        ) {
            let (before, after) = (before.concat().replace("in", "x"), after.concat().replace("in", "x"));
            // Behind a thought begins a new text, and so it does where the outer object ends before
            // the inner one.
            prop_assume!(!before.contains("</think>") && !after.contains("</think>"));
            let outer = format!("{{\"a\" {before} \"b\": {{\"result\": \"INNER\"}} {after}");
            let got = super::result(&outer);
            let ended = mend(&outer, 0, None).is_ok_and(|mended| mended.end < outer.find("INNER").unwrap());
            prop_assume!(!ended);
            prop_assert_ne!(got.as_deref(), Some("INNER"), "{}", outer);
        }

        #[test]
        fn no_text_makes_the_reader_panic(pieces in prop::collection::vec(piece(), 0..40)) {
            let text = pieces.concat();
            super::result(&text);
            why_no_object(&text);
        }
    }
}
