//! How many items a fan-out may have, and who is told when.

use std::sync::Arc;

use lang::source::Source;
use lang::workflow::Workflow;
use serde_json::{Value, json};

/// A fan-out over `items`: how the field is declared, what else the edge says.
fn workflow(field: &str, edge: &str) -> (Arc<Workflow>, Vec<&'static str>) {
    let text = format!(
        "schema_version: \"1.0\"\nflow: {{name: w}}\nstate:\n  fields:\n    items: {{{field}}}\n    \
         all: {{type: list, default: []}}\n    one: {{type: str, default: \"\"}}\n    a: {{type: str, default: \"\"}}\nnodes:\n  \
         - {{id: x, prompt: x, output_schema: {{type: str}}, outputs: [a]}}\n  \
         - {{id: y, prompt: \"{{_parallel_item}}\", output_schema: {{type: str}}, outputs: [one]}}\nedges:\n  \
         - {{from: START, to: x}}\n  \
         - {{from: x, parallel: {{items_field: items, target_node: y, collect_field: all{edge}}}}}\n  - {{from: y, to: END}}\n"
    );
    let checked = lang::check(&Source::new("w.yaml", text));
    let codes = checked.diagnostics.iter().map(|found| found.code).collect();
    (checked.workflow.expect("valid"), codes)
}

/// How many items a caller may give.
fn check(field: &str, edge: &str, most: usize, warned: bool) {
    let (workflow, codes) = workflow(field, edge);
    let expected: &[&str] = if warned { &["FM0517"] } else { &[] };
    assert_eq!(codes, expected, "{field} {edge}");
    let items = |count: usize| {
        let inputs = json!({"items": vec![1; count]});
        workflow.accept_inputs(inputs.as_object().unwrap())
    };
    assert!(items(most).is_ok(), "{field} {edge}");
    let faults = items(most + 1).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(
        (faults[0].dotted_path(), faults[0].kind.as_str()),
        ("items".to_owned(), "too_long")
    );
    let schema: Value = workflow.input_schema();
    assert_eq!(schema["properties"]["items"]["maxItems"], json!(most));
}

#[test]
fn a_caller_may_not_begin_any_number_of_calls_with_a_list() {
    let list = "type: list, required: true";
    check(list, "", 1_000, true);
    check(list, ", max_items: 3", 3, false);
    check(list, ", max_items: 2000", 2_000, false);
    check("type: list, required: true, max_items: 5", "", 5, false);
    check(
        "type: list, required: true, max_items: 5",
        ", max_items: 9",
        5,
        false,
    );
    check(
        "type: list, required: true, max_items: 9",
        ", max_items: 5",
        5,
        false,
    );
}

#[test]
fn inputs_that_were_accepted_before_there_was_a_bound_are_taken() {
    let (workflow, _) = workflow("type: list, required: true", "");
    let inputs = json!({"items": vec![1; 5_000]});
    assert!(workflow.initial_state(inputs.as_object().unwrap()).is_ok());
}
