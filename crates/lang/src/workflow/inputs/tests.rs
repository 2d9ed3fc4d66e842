use std::time::Duration;

use serde_json::json;

use super::*;
use crate::expr;
use crate::names::{Named, Names};
use crate::reference::Root;
use crate::types::Type;
use crate::value::Value;
use crate::workflow::{Budget, Capture, Constraints, Execution, Gates, NodeId, Rule};

/// A workflow of fields and rules, with no nodes.
fn workflow(fields: Vec<Field>) -> Workflow {
    Workflow {
        tracking: crate::workflow::Tracking::default(),
        name: "test".to_owned(),
        version: None,
        description: None,
        definition_hash: String::new(),
        fields,
        additional_inputs: AdditionalInputs::Allow,
        rules: Vec::new(),
        nodes: Vec::new(),
        start: Vec::new(),
        mcp_servers: Vec::new(),
        execution: Execution {
            timeout: Duration::from_secs(120),
            max_attempts: 3,
        },
        budget: Budget::default(),
        capture: Capture::default(),
        sensitive: None,
        gates: Gates::default(),
        unsupported: Vec::new(),
    }
}

fn required(name: &str, ty: Type) -> Field {
    Field {
        required: true,
        ..Field::named(name, ty)
    }
}

/// `name` is required, `age` has a default, `note` is optional.
fn person() -> Workflow {
    let age = Field {
        default: Some(json!(7)),
        ..Field::named("age", Type::Int)
    };
    workflow(vec![
        required("name", Type::Str),
        age,
        Field::named("note", Type::Str),
    ])
}

/// `value` in checks, the fields in rules.
impl Names for Workflow {
    fn field(&self, name: &str) -> Option<Named<'_>> {
        if name == "value" {
            return Some(Named {
                root: Root::CheckedValue,
                ty: None,
            });
        }
        let field = self.field(name)?;
        Some(Named {
            root: Root::Field(field),
            ty: Some(&self.fields[field.0].ty),
        })
    }

    fn fields(&self) -> Vec<&str> {
        self.fields
            .iter()
            .map(|field| field.name.as_str())
            .collect()
    }
}

fn rule(workflow: &Workflow, condition: &str, message: &str) -> Rule {
    let (condition, findings) = expr::parse(condition)
        .unwrap()
        .resolve(workflow, &|span| span);
    assert_eq!(findings, []);
    Rule {
        reads: condition.reads(),
        condition,
        text: String::new(),
        message: message.to_owned(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
fn accept(workflow: &Workflow, inputs: Value, expected: Value) {
    let state = workflow.accept_inputs(inputs.as_object().unwrap()).unwrap();
    assert_eq!(
        Value::Object(workflow.state_object(&state)).to_string(),
        expected.to_string()
    );
}

/// Paths, kinds and the inputs that are echoed.
fn refuse(workflow: &Workflow, inputs: &Value, expected: &[(&str, &str, Value)]) -> Vec<Fault> {
    let faults = workflow
        .accept_inputs(inputs.as_object().unwrap())
        .unwrap_err();
    let found: Vec<_> = faults
        .iter()
        .map(|fault| {
            (
                fault.dotted_path(),
                fault.kind.as_str(),
                fault.input.clone(),
            )
        })
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, kind, input)| ((*path).to_owned(), *kind, input.clone()))
        .collect();
    assert_eq!(found, expected, "{inputs}");
    faults
}

#[test]
fn what_is_not_given_is_filled_in_and_what_is_unknown_dropped() {
    accept(
        &person(),
        json!({"x": [1], "name": "Eva"}),
        json!({"name": "Eva", "age": 7, "note": null}),
    );
    accept(
        &person(),
        json!({"age": "8", "note": null, "name": ""}),
        json!({"name": "", "age": 8, "note": null}),
    );
}

#[test]
fn faults_come_in_declaration_order() {
    let inputs = json!({"note": 5, "age": null});
    refuse(
        &person(),
        &inputs,
        &[
            ("name", "missing", inputs.clone()),
            ("age", "int_type", json!(null)),
            ("note", "string_type", json!(5)),
        ],
    );
}

#[test]
fn unknown_inputs_are_faults_where_they_are_forbidden() {
    let strict = Workflow {
        additional_inputs: AdditionalInputs::Forbid,
        ..person()
    };
    accept(
        &strict,
        json!({"name": "Eva"}),
        json!({"name": "Eva", "age": 7, "note": null}),
    );
    let inputs = json!({"z": {"y": 1}, "age": "x", "name": "Eva", "b": null});
    let expected = [
        ("age", "int_parsing", json!("x")),
        ("z", "extra_forbidden", json!({"y": 1})),
        ("b", "extra_forbidden", json!(null)),
    ];
    refuse(&strict, &inputs, &expected);
}

#[test]
fn checks_hold_the_coerced_value_to_the_authors_condition() {
    let mut workflow = person();
    let adult = rule(&workflow, "value >= 18", "adults only");
    let even = rule(&workflow, "value in [18, 20]", "18 or 20");
    workflow.fields[1].checks = vec![adult, even];
    accept(
        &workflow,
        json!({"name": "Eva", "age": "18"}),
        json!({"name": "Eva", "age": 18, "note": null}),
    );
    let broken = [
        ("age", "assertion_error", json!("17")),
        ("age", "assertion_error", json!("17")),
    ];
    let faults = refuse(&workflow, &json!({"name": "Eva", "age": "17"}), &broken);
    assert_eq!(faults[0].message, "adults only");
    assert_eq!(faults[1].context, Some(json!({"error": "18 or 20"})));
}

#[test]
fn checks_are_not_asked_about_unsound_or_null_values() {
    let mut workflow = person();
    let never = rule(&workflow, "value == 'never'", "never");
    workflow.fields[2].checks = vec![never];
    workflow.fields[2].constraints = Constraints {
        min_length: Some(3),
        ..Constraints::default()
    };
    accept(
        &workflow,
        json!({"name": "Eva", "note": null}),
        json!({"name": "Eva", "age": 7, "note": null}),
    );
    refuse(
        &workflow,
        &json!({"name": "Eva", "note": "ab"}),
        &[("note", "string_too_short", json!("ab"))],
    );
    refuse(
        &workflow,
        &json!({"name": "Eva", "note": 5}),
        &[("note", "string_type", json!(5))],
    );
}

#[test]
fn rules_concern_the_inputs_as_a_whole() {
    let mut workflow = person();
    workflow.rules = vec![rule(
        &workflow,
        "state.age > 5 or state.note != null",
        "say why",
    )];
    accept(
        &workflow,
        json!({"name": "E", "age": 1, "note": ""}),
        json!({"name": "E", "age": 1, "note": ""}),
    );
    let inputs = json!({"name": "E", "age": 1});
    let faults = refuse(
        &workflow,
        &inputs,
        &[("", "assertion_error", inputs.clone())],
    );
    assert_eq!(faults[0].message, "say why");
}

#[test]
fn rules_are_asked_only_about_sound_fields() {
    let mut workflow = person();
    workflow.rules = vec![
        rule(&workflow, "state.age > 50", "old"),
        rule(&workflow, "state.note == null", "no notes"),
    ];
    let inputs = json!({"age": "x", "note": "n"});
    let expected = [
        ("name", "missing", inputs.clone()),
        ("age", "int_parsing", json!("x")),
        ("", "assertion_error", inputs.clone()),
    ];
    refuse(&workflow, &inputs, &expected);
}

#[test]
fn rules_over_written_fields_wait_for_their_nodes() {
    let mut workflow = person();
    workflow.fields[1].written_by = vec![NodeId(0)];
    workflow.fields[2].written_by = vec![NodeId(1)];
    workflow.rules = vec![
        rule(&workflow, "state.age > 50 and state.note == 'x'", "both"),
        rule(&workflow, "state.age > 60", "age"),
        rule(&workflow, "state.name != ''", "name"),
    ];
    assert_eq!(
        workflow
            .rules_for_inputs()
            .map(|rule| rule.message.as_str())
            .collect::<Vec<_>>(),
        ["name"]
    );
    let state = workflow
        .accept_inputs(json!({"name": "Eva"}).as_object().unwrap())
        .unwrap();

    let broken = |just_written: usize, written: &[usize]| -> Vec<String> {
        let has_been_written = |field: FieldId| written.contains(&field.0);
        let faults =
            workflow.rules_broken_after(&[FieldId(just_written)], &has_been_written, &state);
        faults.into_iter().map(|fault| fault.message).collect()
    };
    assert_eq!(
        broken(1, &[1]),
        ["age"],
        "the other field of `both` is not written yet"
    );
    assert_eq!(broken(2, &[1, 2]), ["both"], "`age` was due before");
    assert_eq!(
        broken(1, &[1, 2]),
        ["both", "age"],
        "written again, as in a loop"
    );
}
