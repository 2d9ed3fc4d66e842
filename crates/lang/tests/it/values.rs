//! The values of the shared corpus: what request bodies and inputs become, or the faults they have.
//! Skipped where the corpus is not beside the repository.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lang::fault::{Fault, FaultKind, PathSegment};
use lang::json;
use lang::source::Source;
use lang::value::{Map, Value};
use lang::workflow::Workflow;
use serde_json::json;

use crate::cases;

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn request_bodies_become_the_expected_state_or_faults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/http_cases.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("skipped: no corpus beside the repository");
        return;
    };
    let corpus: Value = serde_json::from_str(&text).unwrap();
    let workflows: HashMap<&str, Arc<Workflow>> = corpus["workflows"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, path)| {
            let path = file.with_file_name(path.as_str().unwrap());
            let source = Source::new("workflow.yaml", std::fs::read_to_string(path).unwrap());
            (
                name.as_str(),
                lang::check(&source)
                    .workflow
                    .expect("a workflow of the corpus is sound"),
            )
        })
        .collect();

    let cases = corpus["cases"].as_array().unwrap();
    let mut checked = 0;
    let mut problems = Vec::new();
    for case in cases {
        let workflow = &workflows[case["workflow"].as_str().unwrap()];
        let Some(outcome) = outcome(case, workflow) else {
            continue;
        };
        checked += 1;
        if !fits(&outcome, &case["expect"]) {
            problems.push(format!(
                "{}: {outcome}\nexpected {}",
                case["id"], case["expect"]
            ));
        }
    }
    assert!(
        problems.is_empty(),
        "{} of {checked}:\n{}",
        problems.len(),
        problems.join("\n")
    );
    assert!(
        checked > cases.len() / 2,
        "only {checked} of {} cases apply",
        cases.len()
    );
}

/// `{"outputs": …}` or `{"errors": …}` as a server would answer; `None` where the case is about
/// HTTP.
fn outcome(case: &Value, workflow: &Workflow) -> Option<Value> {
    let content_type = case["content_type"]
        .as_str()
        .unwrap_or("application/json")
        .to_ascii_lowercase();
    let body = body(case)?;
    if !content_type.starts_with("application/json") || body.is_empty() {
        return None;
    }
    let errors = match json::read(&body) {
        Ok(Value::Object(inputs)) => match workflow.accept_inputs(&inputs) {
            Ok(state) => return Some(json!({"outputs": workflow.state_object(&state)})),
            Err(faults) => faults.iter().map(entry).collect(),
        },
        Ok(_) => return None,
        Err(
            json::Error::Syntax { offset, .. }
            | json::Error::TooDeep { offset }
            | json::Error::TooMany { offset, .. }
            | json::Error::TextTooLong { offset, .. },
        ) => {
            vec![json!({"loc": ["body", offset], "type": "json_invalid", "input": {}})]
        }
        Err(json::Error::IntegersTooLarge { integers, .. }) => integers
            .first()
            .iter()
            .map(|(path, rounded)| json!({"loc": location(path), "type": "int_parsing_size", "input": rounded}))
            .collect(),
    };
    Some(json!({ "errors": errors }))
}

fn body(case: &Value) -> Option<String> {
    if let Some(parts) = case["body_parts"].as_array() {
        let repeated = |part: &Value| {
            Some(
                part[0]
                    .as_str()?
                    .repeat(usize::try_from(part[1].as_u64()?).ok()?),
            )
        };
        return parts.iter().map(repeated).collect();
    }
    let body = case["body"].as_str()?;
    if case["body_encoding"] != "latin-1" {
        return Some(body.to_owned());
    }
    let bytes: Option<Vec<u8>> = body
        .chars()
        .map(|letter| u8::try_from(u32::from(letter)).ok())
        .collect();
    String::from_utf8(bytes?).ok()
}

fn entry(fault: &Fault) -> Value {
    // What a request body lacks has a name of its own.
    let kind = match fault.kind {
        FaultKind::ModelType => "model_attributes_type",
        kind => kind.as_str(),
    };
    json!({"loc": location(&fault.path), "type": kind, "input": fault.input})
}

fn location(path: &[PathSegment]) -> Vec<Value> {
    std::iter::once(json!("body"))
        .chain(path.iter().map(|segment| json!(segment)))
        .collect()
}

fn fits(outcome: &Value, expect: &Value) -> bool {
    if let Some(alternatives) = expect["one_of"].as_array() {
        return alternatives
            .iter()
            .any(|errors| fits_errors(&outcome["errors"], errors));
    }
    if expect["status_in"].is_array() {
        let may_succeed = expect["status_in"]
            .as_array()
            .is_some_and(|codes| codes.contains(&json!(200)));
        return match outcome["errors"].as_array() {
            Some(_) => {
                expect["errors"].is_null() || fits_errors(&outcome["errors"], &expect["errors"])
            }
            None => may_succeed && fits_outputs(&outcome["outputs"], &expect["outputs"]),
        };
    }
    if expect["status"] == 200 {
        return fits_outputs(&outcome["outputs"], &expect["outputs"]);
    }
    fits_errors(&outcome["errors"], &expect["errors"])
}

/// `result` is written by the node, and not before the run.
fn fits_outputs(state: &Value, expected: &Value) -> bool {
    let without_result = |outputs: &Value| -> Option<Map<String, Value>> {
        let mut outputs = outputs.as_object()?.clone();
        outputs.shift_remove("result");
        Some(outputs)
    };
    let (state, expected) = (without_result(state), without_result(expected));
    state.is_some() && state == expected
}

fn fits_errors(errors: &Value, expected: &Value) -> bool {
    let (Some(errors), Some(expected)) = (errors.as_array(), expected.as_array()) else {
        return false;
    };
    errors.len() == expected.len()
        && errors.iter().zip(expected).all(|(error, expected)| {
            let place = match expected["loc_prefix"].as_array() {
                Some(prefix) => error["loc"]
                    .as_array()
                    .is_some_and(|place| place.starts_with(prefix)),
                None => error["loc"] == expected["loc"],
            };
            let input = expected
                .get("input")
                .is_none_or(|input| error["input"] == *input);
            place && input && error["type"] == expected["type"]
        })
}

#[test]
fn inputs_of_every_run_are_accepted_or_have_the_expected_faults() {
    let mut problems = Vec::new();
    for case in cases::all().iter().filter(|case| case.is_valid()) {
        let Some(workflow) = lang::check(&case.source).workflow else {
            problems.push(format!("{}: refused", case.name));
            continue;
        };
        for run in case.expect["runs"].as_array().into_iter().flatten() {
            let inputs = run["inputs"].as_object().unwrap();
            let faults = workflow.accept_inputs(inputs).err().unwrap_or_default();
            let found: Vec<Value> = faults
                .iter()
                .map(|fault| json!([fault.dotted_path(), fault.kind.as_str()]))
                .collect();
            let expected = match run["expect"]["code"].as_str() {
                Some("input_invalid") => run["expect"]["faults"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
                _ => Vec::new(),
            };
            if found != expected {
                problems.push(format!("{}: {found:?}, expected {expected:?}", case.name));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
