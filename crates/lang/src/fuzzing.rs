//! Everything in this crate that reads what others wrote, given any bytes.

#![expect(clippy::missing_panics_doc, reason = "a panic is a find")]

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use crate::diagnostic::{self, Severity};
use crate::fault::PathSegment;
use crate::names::{Named, Names};
use crate::reference::{Root, Scope};
use crate::source::{Source, Span};
use crate::types::Type;
use crate::value::Value;
use crate::workflow::{FieldId, Workflow};
use crate::{expr, json, template};

/// Any text is either a workflow or has diagnostics, and every diagnostic points into the text.
pub fn workflow_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for name in ["fuzz.yaml", "fuzz.json"] {
        let source = Source {
            name: name.into(),
            text: Arc::from(text),
        };
        let checked = crate::check(&source);
        let is_error = |found: &diagnostic::Diagnostic| found.severity == Severity::Error;
        let errors = checked.diagnostics.iter().any(is_error);
        assert_eq!(checked.workflow.is_none(), errors);
        for found in &checked.diagnostics {
            assert!(
                text.get(found.span.start..found.span.end).is_some(),
                "{found:?}"
            );
        }
        diagnostic::render::human(&source, &checked.diagnostics, false, 80);
    }
}

/// Any text is a condition or is refused, and a condition holds or does not.
pub fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let state = State::new();
    let in_text = within(text);
    match expr::parse(text) {
        Ok(raw) => {
            let (condition, _) = raw.resolve(&state, &in_text);
            condition.holds(&state);
        }
        Err(error) => {
            in_text(error.span);
        }
    }
}

/// Any text is a template, and can be filled in or not.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let state = State::new();
    let (template, _) = template::parse(text).resolve(&state, &within(text));
    template::foreign::find(text, &state, &["s"], &within(text));
    let _ = template.render(&state);
    let _ = template.value(&state);
}

/// Any body is read or refused, and what is read is a state or has faults that point into it.
pub fn request_body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(Value::Object(inputs)) = json::read(text) else {
        return;
    };
    match CHECKED.accept_inputs(&inputs) {
        Ok(state) => {
            // What was accepted once is accepted again, unchanged.
            let object = CHECKED.state_object(&state);
            assert_eq!(CHECKED.accept_inputs(&object).as_ref(), Ok(&state));
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                let first = fault.path.first();
                assert!(matches!(first, Some(PathSegment::Key(_))), "{fault:?}");
            }
        }
    }
}

/// Spans that are handed out lie in the text, at the edges of characters.
fn within(text: &str) -> impl Fn(Span) -> Span + '_ {
    move |span| {
        assert!(
            text.get(span.start..span.end).is_some(),
            "{span:?} of {text:?}"
        );
        span
    }
}

/// A state with one field of each kind.
struct State(Vec<(&'static str, Type, Value)>);

impl State {
    fn new() -> Self {
        let field = |name, ty, value: &str| {
            let ty = Type::parse(ty).expect("a type of the language");
            (name, ty, json::read(value).expect("JSON"))
        };
        Self(vec![
            field("s", "str", "\"text\""),
            field("i", "int", "7"),
            field("f", "float", "0.5"),
            field("b", "bool", "true"),
            field("l", "list[int]", "[1, 2]"),
            field("d", "dict", "{\"k\": {\"x\": null}}"),
        ])
    }
}

impl Names for State {
    fn field(&self, name: &str) -> Option<Named<'_>> {
        let at = self.0.iter().position(|(known, ..)| *known == name)?;
        Some(Named {
            root: Root::Field(FieldId(at)),
            ty: Some(&self.0[at].1),
        })
    }

    fn fields(&self) -> Vec<&str> {
        self.0.iter().map(|(name, ..)| *name).collect()
    }
}

impl Scope for State {
    fn get(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Field(FieldId(at)) => self.0.get(at).map(|(_, _, value)| Cow::Borrowed(value)),
            _ => None,
        }
    }
}

/// A workflow whose inputs are of every type, with rules.
const WORKFLOW: &str = r#"
schema_version: "1.0"
flow: {name: fuzz}
state:
  fields:
    s: {type: str, min_length: 1, pattern: "^[a-z]+$"}
    i: {type: int, minimum: 0, maximum: 10}
    f: {type: float, default: 0.5}
    b: {type: bool, default: false}
    l: {type: "list[int]", max_items: 3}
    d: {type: "dict[str, list[float]]", default: {}}
    o: {type: object, schema: {name: {type: str, required: true}, inner: {type: object, schema: {n: int}}}}
    out: {type: str, default: ""}
nodes:
  - {id: say, prompt: "{s} {i} {f} {b} {l} {d} {o}", output_schema: {type: str}, outputs: [out]}
edges:
  - {from: START, to: say}
  - {from: say, to: END}
"#;

static CHECKED: LazyLock<Arc<Workflow>> = LazyLock::new(|| {
    let source = Source {
        name: "fuzz.yaml".into(),
        text: WORKFLOW.into(),
    };
    crate::check(&source)
        .workflow
        .expect("the workflow is valid")
});

#[cfg(test)]
mod tests {
    use testing::corpus::replay;
    use testing::work::grows_linearly;

    #[test]
    fn kept_inputs_still_pass() {
        replay("workflow_file", super::workflow_file);
        replay("expression", super::expression);
        replay("template", super::template);
        replay("request_body", super::request_body);
    }

    /// Texts of a beginning, a middle that is repeated, and an end.
    fn are_linear(reader: &str, read: fn(&[u8]), texts: &[(&str, &str, &str)]) {
        for (begin, middle, end) in texts {
            grows_linearly(
                &format!("{reader} of {begin:?}, {middle:?}, {end:?}"),
                |times| format!("{begin}{}{end}", middle.repeat(times)),
                |text| {
                    read(text.as_bytes());
                    text.len()
                },
            );
        }
    }

    #[test]
    fn request_bodies_take_linear_work() {
        let large = "99999999999999999999999,";
        let nested = r#"{"k": {"k": "#;
        are_linear(
            "request_body",
            super::request_body,
            &[
                (r#"{"l": ["#, r#""x","#, "1]}"),
                (r#"{"l": ["#, large, "1]}"),
                (r#"{"d": {"a": ["#, large, "1]}}"),
                (r#"{"d": ["#, r#"{"k": null},"#, "1]}"),
                (r#"{"d": "#, nested, "1"),
                (r#"{"s": ""#, r"\u0041", r#""}"#),
                (r#"{"s": ""#, r"\\", "\"}"),
                ("{", r#""a": 99999999999999999999999,"#, r#""b": 1}"#),
                (" ", "[", ""),
                ("", "{\"s\":", ""),
            ],
        );
    }

    #[test]
    fn a_long_key_is_not_repeated_by_each_of_its_faults() {
        grows_linearly(
            "faults below a long key",
            |times| {
                let items = vec!["\"x\""; 1_000].join(",");
                let text = format!(r#"{{"d": {{"{}": [{items}]}}}}"#, "k".repeat(times));
                crate::json::read(&text).expect("JSON")
            },
            |inputs| {
                let inputs = inputs.as_object().expect("an object");
                let faults = super::CHECKED.accept_inputs(inputs).expect_err("faults");
                let segments = faults.iter().flat_map(|fault| &fault.path);
                1_000_000
                    + segments
                        .map(|segment| segment.to_string().len())
                        .sum::<usize>()
            },
        );
    }

    #[test]
    fn workflow_files_take_linear_work() {
        are_linear(
            "workflow_file",
            super::workflow_file,
            &[
                ("", "a: 1\n", ""),
                ("x: [", "1, ", "2]"),
                ("x: &a [1]\n", "? *a\n: 1\n", ""),
                ("x: &a {k: 1}\ny: [", "*a, ", "1]"),
                ("x: \"", "\\u0041", "\""),
                ("x: |\n", "  text\n", ""),
                ("", "? ", ""),
                ("", "- ", ""),
                ("{", "\"a\": {}, ", "\"b\": 1}"),
                ("state: {fields: {", "\"a\": str, ", "b: str}}"),
            ],
        );
    }

    #[test]
    fn expressions_take_linear_work() {
        are_linear(
            "expression",
            super::expression,
            &[
                ("", "not ", "b"),
                ("b", " and b", ""),
                ("", "(", "b"),
                ("s == '", "\\n", "'"),
                ("", "1e+", "1"),
                ("i in [", "1,", "2]"),
                ("", "{", ""),
                ("", ".", ""),
            ],
        );
    }

    #[test]
    fn templates_take_linear_work() {
        are_linear(
            "template",
            super::template,
            &[
                ("", "{", ""),
                ("", "{{", ""),
                ("", "}", ""),
                ("", "{s}", ""),
                ("", "{s", ""),
                ("{", "s.", "}"),
                ("", "{ {", "}"),
                ("{s:", ">", "}"),
                ("{d[", "[", "]}"),
            ],
        );
    }
}
