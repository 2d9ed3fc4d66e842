//! Nothing a file can hold makes checking panic, hang or grow; every span lies in the text.

use std::ops::Range;
use std::time::{Duration, Instant};

use lang::Checked;
use lang::diagnostic::{Severity, render};
use lang::source::Source;
use proptest::prelude::*;

/// Checks a text, and what holds for every text.
fn check(name: &str, text: &str) -> Checked {
    let source = Source::new(name, text);
    let checked = lang::check(&source);
    for diagnostic in &checked.diagnostics {
        let span = diagnostic.span;
        assert!(span.start <= span.end, "{diagnostic:?}");
        assert!(text.get(span.start..span.end).is_some(), "{diagnostic:?}");
        assert!(!diagnostic.message.is_empty());
        assert!(lang::diagnostic::explain(diagnostic.code).is_some());
    }
    let refused = checked
        .diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(checked.workflow.is_none(), refused);
    render::human(&source, &checked.diagnostics, true, 80);
    render::short(&source, &checked.diagnostics);
    render::json(&source, &checked.diagnostics);
    checked
}

/// Checks a hostile text within a time that only something worse than linear would exceed.
#[track_caller]
fn survives(name: &str, text: &str, code: &str) {
    let start = Instant::now();
    let checked = check(name, text);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    assert!(
        checked
            .diagnostics
            .iter()
            .any(|diagnostic| diagnostic.code == code),
        "{:?}",
        checked.diagnostics.first()
    );
}

/// Pieces of a text, one for each number.
fn repeated(numbers: Range<usize>, piece: impl Fn(usize) -> String) -> String {
    numbers.map(piece).collect::<Vec<_>>().concat()
}

#[test]
fn deep_nesting_is_refused() {
    for (open, name) in [
        ("[", "a.yaml"),
        ("{a: ", "a.yaml"),
        ("- ", "a.yaml"),
        ("[", "a.json"),
        ("{\"a\":", "a.json"),
    ] {
        survives(name, &open.repeat(100_000), "FM0104");
    }
    let indented = repeated(0..400, |depth| format!("{}a:\n", " ".repeat(depth)));
    survives("a.yaml", &indented, "FM0104");
}

#[test]
fn depth_counts_through_aliases() {
    let levels = repeated(1..200, |level| {
        format!("a{level}: &a{level} [*a{}]\n", level - 1)
    });
    let text = format!("a0: &a0 x\n{levels}");
    survives("a.yaml", &text, "FM0104");
}

#[test]
fn aliases_that_multiply_are_refused() {
    let levels = repeated(1..30, |level| {
        let alias = format!("*a{}", level - 1);
        format!("a{level}: &a{level} [{}]\n", [&*alias; 10].join(", "))
    });
    let text = format!("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{levels}");
    survives("a.yaml", &text, "FM0105");
}

#[test]
fn merges_that_multiply_are_refused() {
    let keys = repeated(0..5000, |key| format!("k{key}: 1, "));
    let merges = "  - {<<: *a}\n".repeat(5000);
    survives(
        "a.yaml",
        &format!("a: &a {{{keys}}}\nb:\n{merges}"),
        "FM0105",
    );
    survives("a.yaml", "a: &a {<<: *a}\n", "FM0102");
}

#[test]
fn very_many_faults_are_counted_not_listed() {
    let nodes = repeated(0..20_000, |node| {
        format!("  - {{id: {node}, prompt: '{{x{node}}}'}}\n")
    });
    let text = format!("state:\n  fields:\n    a: {{type: str}}\nnodes:\n{nodes}");
    survives("a.yaml", &text, "FM0113");
}

#[test]
fn very_many_unknown_names_stay_cheap() {
    let fields = repeated(0..20_000, |field| {
        format!("    field{field}: {{type: str}}\n")
    });
    let names = repeated(0..100_000, |name| format!("{{feild{name}}}"));
    let text = format!(
        "schema_version: \"1.0\"\nflow: {{name: x}}\nstate:\n  fields:\n{fields}nodes:\n  - {{id: n, prompt: \"{names}\", output_schema: {{type: str}}, outputs: [field0]}}\nedges: [{{from: START, to: n}}, {{from: n, to: END}}]\n"
    );
    survives("a.yaml", &text, "FM0401");
}

#[test]
fn very_many_foreign_placeholders_stay_cheap() {
    let fields = repeated(0..20_000, |field| {
        format!("    field{field}: {{type: str}}\n")
    });
    let names = repeated(0..50_000, |name| {
        format!("{{{{feild{name}}}}} <field{name}> {{field{name}[0]}} %(x{name})s")
    });
    let open = "{{ $<%(".repeat(50_000);
    let text = format!(
        "schema_version: \"1.0\"\nflow: {{name: x}}\nstate:\n  fields:\n{fields}nodes:\n  - {{id: n, prompt: \"{open}{names}\", output_schema: {{type: str}}, outputs: [field0]}}\nedges: [{{from: START, to: n}}, {{from: n, to: END}}]\n"
    );
    survives("a.yaml", &text, "FM0408");
}

#[test]
fn large_patterns_are_refused() {
    let field = |index| format!("    f{index}: {{type: str, pattern: '(\\w{{50}}){{50}}'}}\n");
    let fields = repeated(0..200, field);
    survives("a.yaml", &format!("state:\n  fields:\n{fields}"), "FM0206");
}

#[test]
fn odd_files_are_refused_with_a_diagnostic() {
    for text in [
        "",
        " ",
        "\u{feff}",
        "~",
        "5",
        "- a",
        "a: *b",
        "a: &a *a",
        "\t",
        "{",
        "}",
        "'",
        "\"\\x",
        "? [a]\n: b",
        "%YAML 9.9\n---\na",
        "a: \u{0}",
        "a: b: c",
        "@",
        "--- |\n x\n...\n",
    ] {
        for name in ["a.yaml", "a.yml", "a.json"] {
            assert!(check(name, text).workflow.is_none(), "{text:?}");
        }
    }
}

const VALID: &[(&str, &str)] = &[
    ("a.yaml", include_str!("../fixtures/valid/everything.yaml")),
    ("a.json", include_str!("../fixtures/valid/greeting.json")),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}", json: bool) {
        check(if json { "a.json" } else { "a.yaml" }, &text);
    }

    #[test]
    fn any_yaml_like_text_is_survived(text in "([a-z{}\\[\\]:,&*!|>'\"#%@`<~?\\\\ \n\t-]|: |- |\n  ){0,120}") {
        check("a.yaml", &text);
    }

    #[test]
    fn any_change_to_a_valid_file_is_survived(
        which in 0..VALID.len(),
        at: prop::sample::Index,
        length in 0_usize..30,
        new in "[a-zA-Z0-9{}\\[\\]:,&*'\" \n\\\\._~é-]{0,12}",
    ) {
        let (name, text) = VALID[which];
        let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let from = at.index(boundaries.len());
        let to = (from + length).min(boundaries.len() - 1);
        let changed = format!("{}{new}{}", &text[..boundaries[from]], &text[boundaries[to]..]);
        check(name, &changed);
    }

    #[test]
    fn any_two_lines_of_a_valid_file_may_change_places(first: prop::sample::Index, second: prop::sample::Index) {
        let mut lines: Vec<&str> = VALID[0].1.lines().collect();
        let (first, second) = (first.index(lines.len()), second.index(lines.len()));
        lines.swap(first, second);
        check("a.yaml", &lines.join("\n"));
    }
}
