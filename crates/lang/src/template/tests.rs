use serde_json::json;

use super::*;
use crate::names::{FindingKind, Named, Names};
use crate::reference::Root;
use crate::source::Span;
use crate::types::{ObjectSchema, Type};
use crate::value::Map;
use crate::workflow::{Field, FieldId, NodeId};

/// A node with two inputs over a small state, and a loop.
pub(super) struct SampleState {
    fields: Vec<Field>,
}

const INPUTS: [&str; 2] = ["alias", "topic"];

pub(super) fn sample_state() -> SampleState {
    let schema = |fields: Vec<Field>| Type::Object(Some(Arc::new(ObjectSchema { fields })));
    let field = |name: &str, ty: &str| Field::named(name, Type::parse(ty).unwrap());
    let home = Field::named(
        "home",
        schema(vec![field("city", "str"), field("zip", "str")]),
    );
    let user = Field::named(
        "user",
        schema(vec![field("name", "str"), field("age", "int"), home]),
    );
    SampleState {
        fields: vec![
            field("topic", "str"),
            field("d", "dict"),
            field("l", "list"),
            user,
            field("my-field", "str"),
        ],
    }
}

impl Names for SampleState {
    fn field(&self, name: &str) -> Option<Named<'_>> {
        if name == "_loop_iteration_say" {
            return Some(Named {
                root: Root::LoopIteration(NodeId(0)),
                ty: Some(&Type::Int),
            });
        }
        let at = self.fields.iter().position(|field| field.name == name)?;
        Some(Named {
            root: Root::Field(FieldId(at)),
            ty: Some(&self.fields[at].ty),
        })
    }

    fn variable(&self, name: &str) -> Option<Named<'_>> {
        let input = INPUTS.iter().position(|input| *input == name);
        input
            .map(|at| Named {
                root: Root::Input(at),
                ty: None,
            })
            .or_else(|| self.field(name))
    }

    fn fields(&self) -> Vec<&str> {
        self.fields
            .iter()
            .map(|field| field.name.as_str())
            .collect()
    }

    fn variables(&self) -> Vec<&str> {
        INPUTS.into_iter().chain(self.fields()).collect()
    }
}

/// The state, with `alias` given as an input.
struct Values(Map<String, Value>, SampleState);

impl Scope for Values {
    fn get(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Field(FieldId(at)) => Some(Cow::Borrowed(
                self.0.get(&self.1.fields[at].name).unwrap_or(&Value::Null),
            )),
            Root::Input(0) => Some(Cow::Owned(json!({"deep": [1, "x"]}))),
            Root::Input(_) => Some(Cow::Owned(json!("wasps"))),
            Root::LoopIteration(_) => Some(Cow::Owned(json!(2))),
            Root::ParallelItem | Root::ParallelIndex | Root::CheckedValue => None,
        }
    }
}

fn values() -> Values {
    let user = json!({"name": "Eva", "age": null, "home": {"city": "Ghent", "zip": "000"}});
    let state = json!({"topic": "bees", "d": {"a": {"b": 1.5}, "k": "{topic}"}, "l": [1], "user": user, "my-field": "dash"});
    let Value::Object(state) = state else {
        unreachable!()
    };
    Values(state, sample_state())
}

fn resolve(text: &str) -> (Template, Vec<crate::names::Finding>) {
    parse(text).resolve(&sample_state(), &|span| span)
}

fn check(text: &str, expected: &str) {
    let (template, findings) = resolve(text);
    assert_eq!(findings, [], "{text:?}");
    assert_eq!(
        template.render(&values()).as_deref(),
        Ok(expected),
        "{text:?}"
    );
}

fn refuse(text: &str, underlined: &str, kind: FindingKind, meant: Option<&str>) {
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
fn placeholders_become_values() {
    check("About {d.a.b}, {state.l}", "About 1.5, [1]");
    check("{ d.k }", "{topic}");
    check("{topic} / {state.topic}", "wasps / bees");
    check("{alias.deep}", "[1, 'x']");
    check("round {state._loop_iteration_say}", "round 2");
    check("{my-field} {state.my-field}", "dash dash");
    check("", "");
}

#[test]
fn objects_render_as_their_class_did() {
    check(
        "{user}",
        "name='Eva' age=None home=WorkflowState_user_home(city='Ghent', zip='000')",
    );
    check("{state.user.home}", "city='Ghent' zip='000'");
    check("{user.home.city} {user.age}", "Ghent None");
}

#[test]
fn groups_that_are_no_names_stay() {
    for text in [
        r#"{"topic": 1}"#,
        "{}",
        "{ }",
        "{1}",
        "{a b}",
        "{a-b}",
        "{0.topic}",
        "{'topic'!r}",
    ] {
        check(text, text);
    }
    check(r#"{"x": {"y": "{topic}"}}"#, r#"{"x": {"y": "wasps"}}"#);
    check("{{topic}} {", "{topic} {");
}

#[test]
fn unknown_names_are_faults_with_their_place() {
    use FindingKind::{FormatSpec, UnknownName};
    refuse("a {state.topci}", "topci", UnknownName, Some("topic"));
    refuse("{ alais.x }", "alais", UnknownName, Some("alias"));
    refuse("{elephant}", "elephant", UnknownName, None);
    refuse("{user.nmae}", "nmae", UnknownName, Some("name"));
    refuse(
        "{state.user.home.city_}",
        "city_",
        UnknownName,
        Some("city"),
    );
    refuse("{my-feild}", "my-feild", UnknownName, Some("my-field"));
    refuse("{d..a}", ".", UnknownName, None);
    refuse("{topic.}", ".", UnknownName, None);
    refuse("{state.}", "", UnknownName, None);
    refuse("{topic:.2f}", "topic:", FormatSpec, Some("topic"));
    refuse(
        "{ state.topic !r}",
        "state.topic ",
        FormatSpec,
        Some("topic"),
    );
    refuse("{tpic: 1}", "tpic:", FormatSpec, Some("topic"));
}

#[test]
fn inputs_are_not_state_fields() {
    refuse("{state.alias}", "alias", FindingKind::UnknownName, None);
}

#[test]
fn dots_into_flat_types_are_warned_about_and_fail_at_run_time() {
    refuse("{l.0}", "0", FindingKind::NoInnerNames, None);
    refuse(
        "{state.topic.name}",
        "name",
        FindingKind::NoInnerNames,
        None,
    );
    let reason = |text: &str| resolve(text).0.render(&values()).unwrap_err().reason;
    assert_eq!(reason("{l.0}"), "`l` is a list, which has no `0` inside");
    assert_eq!(
        reason("{state.topic.name}"),
        "`state.topic` is text, which has no `name` inside"
    );
    assert_eq!(reason("{d.a.c.e}"), "`d.a` has no key `c`");
    assert_eq!(
        reason("{d.a.b.c}"),
        "`d.a.b` is a single value, which has no `c` inside"
    );
    let null = Values(Map::new(), sample_state());
    let error = resolve("{user.home.city}").0.render(&null).unwrap_err();
    assert_eq!(
        error.to_string(),
        "placeholder `{user.home.city}` cannot be filled: `user` is null"
    );
}

#[test]
fn one_placeholder_alone_keeps_its_value() {
    let value = |text: &str| resolve(text).0.value(&values()).unwrap();
    assert_eq!(value("{d.a}"), json!({"b": 1.5}));
    assert_eq!(value("{ alias.deep }"), json!([1, "x"]));
    assert_eq!(value(" {d.a}"), json!(" {'b': 1.5}"));
    assert_eq!(value("plain"), json!("plain"));
    assert_eq!(value(""), json!(""));
}

#[test]
fn places_are_mapped_for_references_and_findings() {
    let (template, findings) = parse("a {d.a} {topci}").resolve(&sample_state(), &|span| {
        Span::new(span.start + 100, span.end + 100)
    });
    assert_eq!(
        template.references().next().map(|reference| reference.span),
        Some(Span::new(103, 106))
    );
    assert_eq!(findings[0].span, Span::new(109, 114));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_parses_and_resolves(text in "[{}a-z.:! \"\u{e9}\u{1f40e}0-9_-]{0,60}") {
            let (template, findings) = resolve(&text);
            for finding in findings {
                prop_assert!(text.get(finding.span.start..finding.span.end).is_some());
            }
            let _ = template.render(&values());
        }

        #[test]
        fn doubled_braces_write_any_text(text in "[{}a-z: \u{e9}]{0,40}") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            let (template, findings) = resolve(&escaped);
            prop_assert_eq!(findings, []);
            prop_assert_eq!(template.render(&values()), Ok(text));
        }

        /// Values are inserted as they are, in one pass, however much they look like templates.
        #[test]
        fn values_are_never_expanded(
            parts in prop::collection::vec(("[a-z ]{0,5}", any::<bool>()), 0..6),
            topic in "[{}a-z.]{0,12}",
            dash in ".{0,12}",
        ) {
            let mut values = values();
            values.0.insert("topic".to_owned(), json!(topic));
            values.0.insert("my-field".to_owned(), json!(dash));
            let (mut text, mut expected) = (String::new(), String::new());
            for (verbatim, which) in parts {
                text += &verbatim;
                text += if which { "{state.topic}" } else { "{my-field}" };
                expected += &verbatim;
                expected += if which { &topic } else { &dash };
            }
            let (template, findings) = resolve(&text);
            prop_assert_eq!(findings, []);
            prop_assert_eq!(template.render(&values), Ok(expected));
        }
    }
}
