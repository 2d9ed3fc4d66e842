//! What a valid file becomes.

use std::time::Duration;

use lang::reference::Root;
use lang::source::Source;
use lang::template::Piece;
use lang::value::Value;
use lang::workflow::{
    AdditionalInputs, FieldId, Format, ModelNode, Node, NodeId, NodeKind, OnGateFail, Target,
    Workflow,
};
use serde_json::json;

fn load(name: &str, text: &str) -> std::sync::Arc<Workflow> {
    let checked = lang::check(&Source::new(name, text));
    assert!(checked.diagnostics.is_empty(), "{:#?}", checked.diagnostics);
    checked.workflow.unwrap()
}

fn everything() -> std::sync::Arc<Workflow> {
    load("a.yaml", include_str!("../fixtures/valid/everything.yaml"))
}

fn field<'a>(workflow: &'a Workflow, name: &str) -> (&'a lang::workflow::Field, FieldId) {
    let id = workflow.field(name).unwrap();
    (&workflow.fields[id.0], id)
}

#[test]
fn flow_and_state() {
    let workflow = everything();
    assert_eq!(workflow.name, "everything");
    assert_eq!(workflow.version.as_deref(), Some("3.1"));
    assert_eq!(workflow.additional_inputs, AdditionalInputs::Forbid);
    assert_eq!(workflow.definition_hash.len(), 64);
    let names: Vec<&str> = workflow
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .take(4)
        .collect();
    assert_eq!(names, ["topic", "mood", "day", "count"]);
    let (topic, _) = field(&workflow, "topic");
    assert!(topic.required && topic.default.is_none());
    assert_eq!(
        (topic.constraints.min_length, topic.constraints.max_length),
        (Some(2), Some(80))
    );
    let (count, _) = field(&workflow, "count");
    assert_eq!(count.default, Some(json!(3)));
    assert_eq!(
        (count.constraints.minimum, count.constraints.maximum),
        (Some(1.0), Some(8.0))
    );
    assert_eq!(count.checks[1].message, "too many");
    assert_eq!(count.checks[0].message, "must hold: value != 7");
    assert_eq!(
        field(&workflow, "day").0.constraints.format,
        Some(Format::Date)
    );
    assert_eq!(field(&workflow, "score").0.default, Some(json!(1.0)));
    assert_eq!(field(&workflow, "done").0.default, Some(json!(false)));
    assert_eq!(workflow.rules[1].message, "wild topics must be longer");
    assert_eq!(
        workflow.rules[1].reads,
        [field(&workflow, "mood").1, field(&workflow, "topic").1]
    );
    let written_by = |name| field(&workflow, name).0.written_by.as_slice();
    assert_eq!(written_by("draft"), [NodeId(0)]);
    assert_eq!(written_by("all"), [workflow.node("each").unwrap()]);
}

/// What a node asks its model.
fn model(node: &Node) -> &ModelNode {
    node.kind.model().expect("it asks a model")
}

#[test]
fn nodes() {
    let workflow = everything();
    let write = &workflow.nodes[0];
    let asked = model(write);
    assert_eq!(asked.llm.provider.as_deref(), Some("ollama"));
    assert_eq!(asked.llm.model.as_deref(), Some("llama2"));
    assert_eq!(
        (asked.llm.temperature, asked.llm.max_tokens),
        (Some(0.5), Some(100))
    );
    assert_eq!(asked.llm.api_base.as_deref(), Some("http://localhost:1/v1"));
    assert_eq!(asked.llm.api_key_env.as_deref(), Some("KEY"));
    let names: Vec<&str> = write
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    assert_eq!(names, ["about", "city"]);
    let roots: Vec<Root> = asked
        .prompt
        .references()
        .map(|reference| reference.root)
        .collect();
    let mood = field(&workflow, "mood").1;
    assert_eq!(
        roots,
        [
            Root::Field(mood),
            Root::Input(0),
            Root::Input(1),
            Root::LoopIteration(NodeId(0))
        ]
    );
    let repeat = write.repeat.as_ref().unwrap();
    assert_eq!(
        (
            repeat.max_iterations,
            repeat.break_on_error,
            repeat.until.is_some()
        ),
        (3, true, true)
    );
    let keys: Vec<&str> = write
        .output
        .fields
        .iter()
        .map(|field| field.key.as_str())
        .collect();
    assert_eq!(
        (keys.as_slice(), write.output.wrapped),
        (&["draft", "done", "card"][..], false)
    );
    let each = &workflow.nodes[1];
    assert_eq!(
        (each.output.fields[0].key.as_str(), each.output.wrapped),
        ("result", true)
    );
    assert!(
        matches!(&model(each).prompt.pieces[0], Piece::Placeholder(placeholder) if placeholder.reference.root == Root::ParallelIndex)
    );
}

#[test]
fn placeholders_know_their_place_in_the_file() {
    let text = include_str!("../fixtures/valid/everything.yaml");
    let workflow = everything();
    for reference in workflow
        .nodes
        .iter()
        .flat_map(|node| model(node).prompt.references())
    {
        assert_eq!(
            &text[reference.span.start..reference.span.end],
            reference.text
        );
    }
}

#[test]
fn edges() {
    let workflow = everything();
    let node = |name: &str| workflow.node(name).unwrap();
    assert_eq!(workflow.start, [Target::Node(node("write"))]);
    let fan_out = workflow.nodes[0].exits.fan_out.as_ref().unwrap();
    assert_eq!(fan_out.target, node("each"));
    assert_eq!(fan_out.collect, field(&workflow, "all").1);
    let routes = workflow.nodes[2].exits.routes.as_ref().unwrap();
    let targets: Vec<Target> = routes.cases.iter().map(|(_, target)| *target).collect();
    assert_eq!(targets, [Target::End, Target::Node(node("write"))]);
    assert_eq!(routes.default, Target::Node(node("left_side")));
    let repeat = workflow.nodes[3].exits.repeat.as_ref().unwrap();
    assert_eq!(
        (repeat.max_iterations, repeat.exit_to),
        (2, Target::Node(node("right_side")))
    );
    let right = &workflow.nodes[4].exits;
    assert_eq!(right.conditional[0].1, [Target::Node(node("finish"))]);
    assert_eq!(right.always, [Target::End]);
}

#[test]
fn settings() {
    let workflow = everything();
    assert_eq!(workflow.execution.timeout, Duration::from_secs(30));
    assert_eq!(workflow.execution.max_attempts, 1);
    assert_eq!(workflow.budget.max_tokens, Some(1000));
    assert_eq!(
        (workflow.budget.max_cost_usd, workflow.budget.max_llm_calls),
        (Some(1.5), Some(7))
    );
    assert_eq!(workflow.gates.on_fail, OnGateFail::BlockDeploy);
    let gates: Vec<_> = workflow
        .gates
        .gates
        .iter()
        .map(|gate| (gate.metric.as_str(), gate.max, gate.on_fail))
        .collect();
    assert_eq!(
        gates,
        [
            ("duration_ms", Some(1000.0), Some(OnGateFail::BlockDeploy)),
            ("cost_usd", Some(2.0), Some(OnGateFail::Fail))
        ]
    );
    assert!(workflow.unsupported.is_empty());
}

#[test]
fn a_join_becomes_plain_edges() {
    let workflow = load(
        "a.yaml",
        &format!(
            "{HEAD}{}",
            "edges:\n  - {from: START, to: a}\n  - {from: a, parallel: [b, c], join: d}\n  - {from: d, to: END}\n"
        ),
    );
    let to = |name: &str| Target::Node(workflow.node(name).unwrap());
    assert_eq!(workflow.nodes[0].exits.always, [to("b"), to("c")]);
    assert_eq!(workflow.nodes[1].exits.always, [to("d")]);
    assert_eq!(workflow.nodes[2].exits.always, [to("d")]);
}

const HEAD: &str = "schema_version: 1.0
flow: {name: join}
state: {fields: {a: {type: str}, b: {type: str}, c: {type: str}, d: {type: str}}}
nodes:
  - {id: a, prompt: a, output_schema: {type: str}, outputs: [a]}
  - {id: b, prompt: b, output_schema: {type: str}, outputs: [b]}
  - {id: c, prompt: c, output_schema: {type: str}, outputs: [c]}
  - {id: d, prompt: d, output_schema: {type: str}, outputs: [d]}
";

#[test]
fn json_files_become_the_same() {
    let workflow = load("A.JSON", include_str!("../fixtures/valid/greeting.json"));
    assert_eq!(workflow.name, "grüße");
    assert_eq!(field(&workflow, "count").0.default, Some(Value::from(1)));
    let Piece::Text(start) = &model(&workflow.nodes[0]).prompt.pieces[0] else {
        panic!("no text")
    };
    assert_eq!(start, "Greet \"");
}

#[test]
fn parts_that_cannot_run_yet_are_listed() {
    let text = include_str!("../fixtures/FM0701.yaml");
    let workflow = lang::check(&Source::new("a.yaml", text)).workflow.unwrap();
    let parts: Vec<(&str, &str)> = workflow
        .unsupported
        .iter()
        .map(|part| (part.path.as_str(), part.what.as_str()))
        .collect();
    assert_eq!(
        parts,
        [
            ("nodes.0.tools", "tools (node `say`)"),
            ("nodes.0.memory", "memory (node `say`)")
        ]
    );
}

#[test]
fn a_node_with_code_is_a_node_of_its_own_kind() {
    let with = |code: &str| {
        let text = format!(
            "schema_version: \"1.0\"\nflow: {{name: w}}\nstate: {{fields: {{a: {{type: str}}}}}}\n\
             nodes:\n  - {{id: n, prompt: p, code: {code}, output_schema: {{type: str}}, outputs: [a]}}\n\
             edges: [{{from: START, to: n}}, {{from: n, to: END}}]\n"
        );
        let checked = lang::check(&Source::new("a.yaml", text));
        checked.workflow.expect("no error")
    };
    let workflow = with("\"print(1)\"");
    let NodeKind::Code(code) = &workflow.nodes[0].kind else {
        panic!("it asks a model")
    };
    assert_eq!(code.source, "print(1)");
    assert!(workflow.nodes[0].kind.model().is_none());
    assert_eq!(workflow.unsupported[0].path, "nodes.0.code");
    // Empty text counts as none.
    let workflow = with("\"\"");
    assert!(matches!(workflow.nodes[0].kind, NodeKind::Model(_)));
    assert!(workflow.unsupported.is_empty());
}
