use std::borrow::Cow;
use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::names::{Finding, FindingKind, Named, Names};
use crate::reference::{Root, Scope};
use crate::types::Type;
use crate::value::{Map, Value};
use crate::workflow::{Field, FieldId, NodeId};

/// A state with a field of every kind, and `value` as in a check.
struct SampleState(Vec<Field>);

fn sample_state() -> SampleState {
    let fields = [
        ("score", "int"),
        ("ratio", "float"),
        ("flag", "bool"),
        ("kind", "str"),
        ("maybe", "str"),
        ("tags", "list[str]"),
        ("any", "list"),
        ("d", "dict"),
        ("counts", "dict[str, int]"),
    ];
    SampleState(
        fields
            .map(|(name, ty)| Field::named(name, Type::parse(ty).unwrap()))
            .into(),
    )
}

impl Names for SampleState {
    fn field(&self, name: &str) -> Option<Named<'_>> {
        if name == "_loop_iteration_refine" {
            return Some(Named {
                root: Root::LoopIteration(NodeId(0)),
                ty: Some(&Type::Int),
            });
        }
        let at = self.0.iter().position(|field| field.name == name)?;
        Some(Named {
            root: Root::Field(FieldId(at)),
            ty: Some(&self.0[at].ty),
        })
    }

    fn variable(&self, name: &str) -> Option<Named<'_>> {
        let value = (name == "value").then_some(Named {
            root: Root::CheckedValue,
            ty: Some(&Type::Int),
        });
        value.or_else(|| self.field(name))
    }

    fn fields(&self) -> Vec<&str> {
        self.0.iter().map(|field| field.name.as_str()).collect()
    }
}

struct Values(Map<String, Value>);

impl Scope for Values {
    fn get(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Field(FieldId(at)) => self.0.get(&sample_state().0[at].name).map(Cow::Borrowed),
            Root::LoopIteration(_) => Some(Cow::Owned(json!(2))),
            Root::CheckedValue => Some(Cow::Owned(json!(18))),
            Root::Input(_) | Root::ParallelItem | Root::ParallelIndex => None,
        }
    }
}

fn values() -> Values {
    let state = json!({
        "score": 8, "ratio": 0.0, "flag": true, "kind": "spam", "maybe": null,
        "tags": ["a", "b"], "any": [1, 2.0, null], "d": {"a": {"b": [1]}, "n": null}, "counts": {"x": 1},
    });
    let Value::Object(state) = state else {
        unreachable!()
    };
    Values(state)
}

fn resolve(text: &str) -> (Condition, Vec<Finding>) {
    let raw = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    raw.resolve(&sample_state(), &|span| span)
}

fn check(text: &str, expected: bool) {
    let (condition, findings) = resolve(text);
    assert_eq!(findings, [], "{text:?}");
    assert_eq!(condition.holds(&values()), expected, "{text:?}");
}

fn find(text: &str, underlined: &str, kind: FindingKind, meant: Option<&str>) {
    let (_, findings) = resolve(text);
    let [finding] = findings.as_slice() else {
        panic!("{text:?} gave {findings:?}")
    };
    assert_eq!(
        &text[finding.span.start..finding.span.end],
        underlined,
        "{text:?}"
    );
    assert_eq!(finding.kind, kind, "{text:?}");
    let suggested = finding
        .suggestion
        .as_ref()
        .and_then(|suggestion| suggestion.did_you_mean.as_deref());
    assert_eq!(suggested, meant, "{text:?}");
}

#[test]
fn fields_are_compared_with_literals() {
    check("state.score == 8.0", true);
    check("{state.score} >= 8 and {score} < 9", true);
    check("7 < state.score", true);
    check("state.score > 1e1", false);
    check("state.score > -1.5", true);
    check("state.kind == spam", true);
    check("state.kind == \"it's\"", false);
    check("state.kind != ''", true);
    check("state.flag == 1 and state.flag == TRUE", true);
    check("state.kind >= 'a' and state.kind < 'z'", true);
    check("state.score > state.ratio", true);
    check("state._loop_iteration_refine >= 2", true);
}

#[test]
fn a_lone_value_is_true_unless_empty() {
    for text in [
        "state.score",
        "state.flag",
        "state.kind",
        "state.tags",
        "state.d",
        "kind",
    ] {
        check(text, true);
        check(&format!("not {text}"), false);
    }
    for text in [
        "state.ratio",
        "state.maybe",
        "state.d.n",
        "state.d.missing.deep",
    ] {
        check(text, false);
    }
}

#[test]
fn null_equals_only_null_and_has_no_order() {
    check("state.maybe == null", true);
    check("state.maybe != None", false);
    check("state.kind == null", false);
    check("state.maybe == ''", false);
    check("state.maybe < 'z' or state.maybe >= ''", false);
    check("not state.maybe < 'z'", true);
    check("len(state.maybe) == 0", false);
    check("state.maybe in ['a', null]", true);
}

#[test]
fn membership_looks_into_lists_texts_and_keys() {
    check("state.kind in ['spam', 'ham']", true);
    check("state.kind not in [spam, ham]", false);
    check("'a' in state.tags", true);
    check("2 in state.any and null in state.any", true);
    check("'pa' in state.kind", true);
    check("'x' in state.counts", true);
    check("'x' in state.d.a", false);
    check("state.score in [state.ratio, 8]", true);
    check("'x' in state.maybe", false);
    check("1 in state.d.a.b", true);
}

#[test]
fn length_counts_characters_items_and_entries() {
    check("len(state.kind) == 4", true);
    check("len(state.tags) >= 2 and len(state.d) == 2", true);
    check("len('žluť') == 4", true);
    check("len([1, 2]) == 2 and len([state.score]) == 1", true);
}

#[test]
fn a_check_names_its_value_on_either_side() {
    check("value >= 18", true);
    check("18 <= value and value in [17, value]", true);
}

#[test]
fn unknown_names_are_errors() {
    use FindingKind::UnknownName;
    find("state.scor > 1", "scor", UnknownName, Some("score"));
    find("{state.flga}", "flga", UnknownName, Some("flag"));
    find("scroe > 1", "scroe", UnknownName, Some("score"));
    find("state.flag and spam", "spam", UnknownName, None);
    find(
        "state.score > state.elephant",
        "elephant",
        UnknownName,
        None,
    );
    find("state. > 1", "", UnknownName, None);
    find("{wrong} == 1", "wrong", UnknownName, None);
}

#[test]
fn an_unknown_name_in_parentheses_is_underlined_without_them() {
    find("(elephantՠ)", "elephantՠ", FindingKind::UnknownName, None);
    find(
        "((colour)) == 'red'",
        "colour",
        FindingKind::UnknownName,
        None,
    );
}

#[test]
fn operators_that_never_work_are_errors() {
    use FindingKind::Nonsense;
    find("len(state.score) > 1", "state.score", Nonsense, None);
    find("len(null)", "null", Nonsense, None);
    find("'a' in state.score", "state.score", Nonsense, None);
    find("'a' in 5", "5", Nonsense, None);
    assert_eq!(Nonsense.severity(), crate::diagnostic::Severity::Error);
}

#[test]
fn comparisons_that_never_change_are_warnings_and_still_evaluate() {
    use FindingKind::Foregone;
    for (text, holds) in [
        ("state.kind == 5", false),
        ("state.score != 'x'", true),
        ("state.flag > 'a'", false),
        ("state.tags > 3", false),
        ("state.tags > state.any", false),
        ("state.score < null", false),
        ("state.tags == 'a'", false),
        ("5 in state.tags", false),
        ("state.kind in [1, 2]", false),
        ("1 in state.kind", false),
        ("1 in state.counts", false),
        ("true", true),
        ("'a'", true),
        ("[]", false),
    ] {
        find(text, text, Foregone, None);
        assert_eq!(resolve(text).0.holds(&values()), holds, "{text:?}");
    }
    assert_eq!(Foregone.severity(), crate::diagnostic::Severity::Warning);
}

#[test]
fn a_field_written_bare_on_the_right_is_warned_about() {
    find(
        "state.kind == maybe",
        "maybe",
        FindingKind::BareWordIsField,
        None,
    );
    find("state.kind.x == 1", "x", FindingKind::NoInnerNames, None);
}

#[test]
fn reads_names_each_field_once() {
    let (condition, _) =
        resolve("{score} > 1 and (state.kind in [state.maybe] or len(state.d.a) > state.score)");
    assert_eq!(condition.reads(), [0, 3, 4, 7].map(FieldId));
    assert_eq!(condition.references().len(), 5);
}

/// A condition as drawn at random: written down with as few brackets as possible and evaluated in
/// the plainest way, to be compared with what parser and evaluator make of the text.
#[derive(Debug, Clone)]
enum Drawn {
    Number(i32),
    Half(i32),
    Text(String),
    Null,
    Truth(bool),
    Field(&'static str),
    List(Vec<Drawn>),
    Len(Box<Drawn>),
    Not(Box<Drawn>),
    And(Box<Drawn>, Box<Drawn>),
    Or(Box<Drawn>, Box<Drawn>),
    Compare(&'static str, Box<Drawn>, Box<Drawn>),
}

impl Drawn {
    /// 0 or, 1 and, 2 not, 3 comparison, 4 operand.
    fn binding(&self) -> u8 {
        match self {
            Self::Or(..) => 0,
            Self::And(..) => 1,
            Self::Not(_) => 2,
            Self::Compare(..) => 3,
            _ => 4,
        }
    }

    fn within(&self, least: u8) -> String {
        if self.binding() < least {
            format!("( {self} )")
        } else {
            self.to_string()
        }
    }

    fn value(&self, state: &Map<String, Value>) -> Value {
        let length = |value: Value| match value {
            Value::String(text) => json!(text.chars().count()),
            Value::Array(items) => json!(items.len()),
            Value::Object(entries) => json!(entries.len()),
            _ => Value::Null,
        };
        match self {
            Self::Number(number) => json!(number),
            Self::Half(number) => json!(f64::from(*number) / 2.0),
            Self::Text(text) => json!(text),
            Self::Null => Value::Null,
            Self::Truth(truth) => json!(truth),
            Self::Field(name) => state.get(*name).cloned().unwrap_or_default(),
            Self::List(items) => items.iter().map(|item| item.value(state)).collect(),
            Self::Len(inner) => length(inner.value(state)),
            Self::Not(inner) => json!(!truthy(&inner.value(state))),
            Self::And(left, right) => {
                json!(truthy(&left.value(state)) & truthy(&right.value(state)))
            }
            Self::Or(left, right) => {
                json!(truthy(&left.value(state)) | truthy(&right.value(state)))
            }
            Self::Compare(operator, left, right) => {
                json!(naive_comparison(
                    operator,
                    &left.value(state),
                    &right.value(state)
                ))
            }
        }
    }
}

impl std::fmt::Display for Drawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Half(number) => write!(f, "{:?}", f64::from(*number) / 2.0),
            Self::Text(text) => write!(
                f,
                "'{}'",
                text.replace('\\', "\\\\")
                    .replace('\'', "\\'")
                    .replace('\n', "\\n")
            ),
            Self::Null => f.write_str("null"),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Field(name) => write!(f, "state.{name}"),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(","))
            }
            Self::Len(inner) => write!(f, "len({inner})"),
            Self::Not(inner) => write!(f, "not {}", inner.within(2)),
            Self::And(left, right) => write!(f, "{} and {}", left.within(1), right.within(2)),
            Self::Or(left, right) => write!(f, "{} or {}", left.within(0), right.within(1)),
            Self::Compare(operator, left, right) => {
                write!(f, "{} {operator} {}", left.within(4), right.within(4))
            }
        }
    }
}

fn truthy(value: &Value) -> bool {
    ![
        json!(null),
        json!(false),
        json!(0),
        json!(0.0),
        json!(-0.0),
        json!(""),
        json!([]),
        json!({}),
    ]
    .contains(value)
}

/// Numbers in the tests are small, so that doubles hold them exactly.
fn number(value: &Value) -> Option<f64> {
    value
        .as_bool()
        .map(|truth| f64::from(u8::from(truth)))
        .or_else(|| value.as_f64())
}

fn naive_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && (0..left.len()).all(|at| naive_equal(&left[at], &right[at]))
        }
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => left.partial_cmp(&right) == Some(Ordering::Equal),
            (None, None) => left == right,
            _ => false,
        },
    }
}

fn naive_comparison(operator: &str, left: &Value, right: &Value) -> bool {
    let order = match (left.as_str(), right.as_str()) {
        (Some(left), Some(right)) => Some(left.chars().cmp(right.chars())),
        _ => number(left)
            .zip(number(right))
            .and_then(|(left, right)| left.partial_cmp(&right)),
    };
    let contains = || match right {
        Value::Array(items) => items.iter().any(|item| naive_equal(left, item)),
        Value::String(text) => left.as_str().is_some_and(|part| text.contains(part)),
        Value::Object(entries) => left
            .as_str()
            .is_some_and(|key| entries.keys().any(|other| other == key)),
        _ => false,
    };
    match operator {
        "==" => naive_equal(left, right),
        "!=" => !naive_equal(left, right),
        "<" => order.is_some_and(Ordering::is_lt),
        "<=" => order.is_some_and(Ordering::is_le),
        ">" => order.is_some_and(Ordering::is_gt),
        ">=" => order.is_some_and(Ordering::is_ge),
        "in" => contains(),
        _ => !contains(),
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let field = prop::sample::select(vec![
        "score", "ratio", "flag", "kind", "maybe", "tags", "any", "d", "counts",
    ]);
    let leaf = prop_oneof![
        (-3..12).prop_map(Drawn::Number),
        (-3..20).prop_map(Drawn::Half),
        "[a-c'\"\\\\\n\u{e9} ]{0,4}|spam".prop_map(Drawn::Text),
        Just(Drawn::Null),
        any::<bool>().prop_map(Drawn::Truth),
        field.clone().prop_map(Drawn::Field),
        field.prop_map(Drawn::Field),
    ];
    let operator = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">=", "in", "not in"]);
    leaf.prop_recursive(5, 40, 3, move |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let item = inner
            .clone()
            .prop_filter("items are single values", |item| item.binding() == 4);
        prop_oneof![
            prop::collection::vec(item, 0..3).prop_map(Drawn::List),
            boxed().prop_map(Drawn::Len),
            boxed().prop_map(Drawn::Not),
            (boxed(), boxed()).prop_map(|(left, right)| Drawn::And(left, right)),
            (boxed(), boxed()).prop_map(|(left, right)| Drawn::Or(left, right)),
            (operator.clone(), boxed(), boxed())
                .prop_map(|(operator, left, right)| Drawn::Compare(operator, left, right)),
            (operator.clone(), boxed(), boxed())
                .prop_map(|(operator, left, right)| Drawn::Compare(operator, left, right)),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_a_naive_evaluator(drawn in drawn()) {
        let text = drawn.to_string();
        let (condition, _) = resolve(&text);
        let values = values();
        prop_assert_eq!(condition.holds(&values), truthy(&drawn.value(&values.0)), "{}", text);
    }

    #[test]
    fn any_text_is_parsed_or_refused_in_its_place(
        text in "([a-z.(){}\\[\\]'\"=<>!&|,\\\\ 0-9\u{e9}-]|state\\.| and | not |len\\(){0,40}",
    ) {
        match parse(&text) {
            Ok(raw) => {
                let (condition, findings) = raw.resolve(&sample_state(), &|span| span);
                for finding in findings {
                    prop_assert!(text.get(finding.span.start..finding.span.end).is_some(), "{:?}", finding);
                }
                condition.holds(&values());
            }
            Err(error) => prop_assert!(text.get(error.span.start..error.span.end).is_some(), "{:?}", error),
        }
    }
}
