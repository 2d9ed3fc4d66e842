//! The order of nodes: chains, branches and joins, routes, loops; what a step leaves in the state.

use engine::outcome::FailureCode;
use engine::run::{MAX_STEPS, preflight};
use serde_json::{Value, json};

use crate::fixture::{Answer, FakeModels, Fixture, Ran, Shared, plan};
use std::sync::Arc;

/// A node that answers text into one field.
fn text_node(id: &str, prompt: &str, field: &str) -> String {
    format!(
        "  - {{id: {id}, prompt: \"{prompt}\", output_schema: {{type: str}}, outputs: [{field}]}}\n"
    )
}

/// A workflow whose fields are all texts that start as "-", and whose models answer with the node's
/// id and a count, such as `x1`.
fn texts(fields: &str, nodes: &[(&str, &str, &str)], edges: &str) -> String {
    let fields = fields
        .split(' ')
        .map(|name| format!("    {name}: {{type: str, default: \"-\"}}\n"))
        .collect::<Vec<_>>()
        .concat();
    let nodes: String = nodes
        .iter()
        .map(|(id, prompt, field)| text_node(id, prompt, field))
        .collect();
    format!("state:\n  fields:\n{fields}nodes:\n{nodes}edges:\n{edges}")
}

fn counting() -> Arc<FakeModels> {
    FakeModels::new(|call| Answer::result(format!("{}{}", call.node, call.nth + 1)))
}

/// Runs and compares the calls, in order, and the final state.
async fn check(workflow: &str, models: &Arc<FakeModels>, prompts: &[&str], outputs: Value) -> Ran {
    let ran = Fixture::new(&plan(workflow), models).run(json!({})).await;
    assert_eq!(models.prompts(), prompts);
    assert_eq!(ran.outputs(), outputs);
    ran
}

#[tokio::test(start_paused = true)]
async fn a_chain_hands_its_state_on_and_tells_every_step() {
    let workflow = texts(
        "a b",
        &[("x", "x {a}", "a"), ("y", "y {a}", "b")],
        "  - {from: START, to: x}\n  - {from: x, to: y}\n  - {from: y, to: END}\n",
    );
    let ran = check(
        &workflow,
        &counting(),
        &["x: x -", "y: y x1"],
        json!({"a": "x1", "b": "y1"}),
    )
    .await;
    assert_eq!(
        ran.events(),
        [
            "run_started",
            "node_started x",
            "node_completed x",
            "node_started y",
            "node_completed y",
            "run_completed"
        ]
    );
    let ids: Vec<u64> = ran.events.iter().map(|event| event.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    assert_eq!(ran.finished.usage.llm_calls, 2);
    assert_eq!(ran.finished.usage.cost_usd, Some(1.0));
    assert_eq!(
        ran.finished.usage.nodes["x"].model.as_deref(),
        Some("fake/model")
    );
    assert_eq!(ran.finished.usage.nodes["x"].input_tokens, 10);
}

#[tokio::test(start_paused = true)]
async fn branches_run_at_once_and_see_the_state_before_the_step() {
    let workflow = texts(
        "a b c",
        &[
            ("x", "x", "a"),
            ("y", "{a}{b}{c}", "b"),
            ("z", "{a}{b}{c}", "c"),
            ("join", "{b}+{c}", "a"),
        ],
        "  - {from: START, to: x}\n  - {from: x, to: [y, z]}\n  - {from: y, to: join}\n  - {from: z, to: join}\n  \
         - {from: join, to: END}\n",
    );
    let models =
        FakeModels::new(|call| Answer::result(format!("{}{}", call.node, call.nth + 1)).after(100));
    let prompts = ["x: x", "y: x1--", "z: x1--", "join: y1+z1"];
    let ran = check(
        &workflow,
        &models,
        &prompts,
        json!({"a": "join1", "b": "y1", "c": "z1"}),
    )
    .await;
    assert_eq!(models.most_in_flight(), 2);
    assert_eq!(ran.finished.execution_time_ms, 300);
}

#[tokio::test(start_paused = true)]
async fn a_join_waits_for_the_longer_branch_and_runs_once() {
    let workflow = texts(
        "a b c",
        &[
            ("x", "x", "a"),
            ("y", "y {a}", "b"),
            ("z", "z {b}", "b"),
            ("join", "{a}+{b}", "c"),
        ],
        "  - {from: START, to: x}\n  - {from: x, to: [y, join]}\n  - {from: y, to: z}\n  - {from: z, to: join}\n  \
         - {from: join, to: END}\n",
    );
    let prompts = ["x: x", "y: y x1", "z: z y1", "join: x1+z1"];
    check(
        &workflow,
        &counting(),
        &prompts,
        json!({"a": "x1", "b": "z1", "c": "join1"}),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_join_waits_for_a_branch_that_goes_round_a_cycle() {
    let workflow = texts(
        "a b c",
        &[
            ("x", "x", "a"),
            ("try", "try", "b"),
            ("look", "look", "c"),
            ("join", "{a}+{b}+{c}", "a"),
        ],
        "  - {from: START, to: [x, try]}\n  - {from: x, to: join}\n  - {from: try, to: look}\n  \
         - {from: look, routes: [{condition: {logic: \"state.c == 'look2'\"}, to: join}, {condition: {logic: default}, to: try}]}\n  \
         - {from: join, to: END}\n",
    );
    let prompts = [
        "x: x",
        "try: try",
        "look: look",
        "try: try",
        "look: look",
        "join: x1+try2+look2",
    ];
    check(
        &workflow,
        &counting(),
        &prompts,
        json!({"a": "join1", "b": "try2", "c": "look2"}),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_ends_lets_the_other_go_on() {
    let workflow = texts(
        "a b c",
        &[("x", "x", "a"), ("y", "y", "b"), ("z", "z", "c")],
        "  - {from: START, to: [x, y]}\n  - {from: x, to: END}\n  - {from: y, to: z}\n  - {from: z, to: END}\n",
    );
    let outputs = json!({"a": "x1", "b": "y1", "c": "z1"});
    check(&workflow, &counting(), &["x: x", "y: y", "z: z"], outputs).await;
}

#[tokio::test(start_paused = true)]
async fn two_writers_of_one_field_in_one_step_fail_before_they_are_paid_for() {
    let workflow = texts(
        "a",
        &[("x", "x", "a"), ("y", "y", "a")],
        "  - {from: START, to: [x, y]}\n  - {from: x, to: END}\n  - {from: y, to: END}\n",
    );
    let models = counting();
    let ran = Fixture::new(&plan(&workflow), &models).run(json!({})).await;
    ran.assert_failed(
        FailureCode::WriteConflict,
        "Nodes `x` and `y` both write `a` in the same step: let one run after the other, or give each a field of \
         its own",
    );
    assert!(models.calls().is_empty());
}

/// A node that counts itself in `tries` and answers `done` in its `done_at`th execution.
fn looping(loop_of_node: &str, edges: &str) -> String {
    format!(
        "state:\n  fields:\n    done: {{type: bool, default: false}}\n    tries: {{type: int, default: 0}}\n    \
         end: {{type: str, default: \"\"}}\nnodes:\n  - id: work\n    prompt: \"{{state._loop_iteration_work}}\"\n    \
         output_schema: {{type: object, fields: [{{name: done, type: bool}}, {{name: tries, type: int}}]}}\n    \
         outputs: [done, tries]\n{loop_of_node}{}edges:\n  - {{from: START, to: work}}\n{edges}  - {{from: fin, to: END}}\n",
        text_node("fin", "{tries}", "end")
    )
}

fn done_at(done_at: usize) -> Arc<FakeModels> {
    FakeModels::new(move |call| match call.node.as_str() {
        "work" => Answer::json(json!({"done": call.nth + 1 >= done_at, "tries": call.nth + 1})),
        _ => Answer::result("F"),
    })
}

#[tokio::test(start_paused = true)]
async fn loops_run_exactly_as_often_as_they_say() {
    let edge = |max: u32| {
        looping(
            "",
            &format!(
                "  - {{from: work, loop: {{condition_field: done, exit_to: fin, max_iterations: {max}}}}}\n"
            ),
        )
    };
    let node = |max: u32| {
        let repeat = format!("    loop: {{max_iterations: {max}, until: \"state.done\"}}\n");
        looping(&repeat, "  - {from: work, to: fin}\n")
    };
    for (max, done, expected) in [
        (1, 1, 1),
        (1, 9, 1),
        (3, 1, 1),
        (3, 2, 2),
        (3, 3, 3),
        (3, 4, 3),
        (100, 200, 100),
    ] {
        for workflow in [edge(max), node(max)] {
            let models = done_at(done);
            let ran = Fixture::new(&plan(&workflow), &models).run(json!({})).await;
            assert_eq!(ran.outputs()["tries"], expected, "{workflow}");
            let mut prompts: Vec<String> = (0..expected)
                .map(|finished| format!("work: {finished}"))
                .collect();
            prompts.push(format!("fin: {expected}"));
            assert_eq!(models.prompts(), prompts);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_without_a_condition_ends_by_its_bound() {
    let workflow = looping(
        "    loop: {max_iterations: 4}\n",
        "  - {from: work, to: fin}\n",
    );
    let models = done_at(1);
    Fixture::new(&plan(&workflow), &models).run(json!({})).await;
    assert_eq!(models.calls().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_entered_again_counts_afresh() {
    let edges = "  - {from: work, loop: {condition_field: done, exit_to: fin, max_iterations: 2}}\n  \
                 - {from: fin, to: work, condition: \"state.tries < 4\"}\n";
    let models = done_at(100);
    let ran = Fixture::new(&plan(&looping("", edges)), &models)
        .run(json!({}))
        .await;
    assert_eq!(ran.outputs()["tries"], 4);
    assert_eq!(
        models.prompts(),
        [
            "work: 0", "work: 1", "fin: 2", "work: 2", "work: 3", "fin: 4"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn break_on_error_keeps_the_last_good_result() {
    let workflow = looping(
        "    loop: {max_iterations: 5, break_on_error: true}\n",
        "  - {from: work, to: fin}\n",
    );
    let failing_at = |nth| {
        FakeModels::new(move |call| match call.node.as_str() {
            "work" if call.nth == nth => Answer::error(llm::error::ErrorKind::Auth),
            "work" => Answer::json(json!({"done": false, "tries": call.nth + 1})),
            _ => Answer::result("F"),
        })
    };
    let ran = Fixture::new(&plan(&workflow), &failing_at(2))
        .run(json!({}))
        .await;
    assert_eq!(
        ran.outputs(),
        json!({"done": false, "tries": 2, "end": "F"})
    );
    assert!(ran.events().contains(&"node_failed work".to_owned()));

    // There is no good result yet: the failure is the run's.
    let ran = Fixture::new(&plan(&workflow), &failing_at(0))
        .run(json!({}))
        .await;
    ran.assert_failed(FailureCode::ModelError, "Node `work`: the model said Auth");
}

#[tokio::test(start_paused = true)]
async fn the_first_condition_that_holds_chooses() {
    let edges = |conditions: &str| {
        texts(
            "a b",
            &[("x", "x", "a"), ("y", "y", "b"), ("z", "z", "b")],
            &format!(
                "  - {{from: START, to: x}}\n{conditions}  - {{from: y, to: END}}\n  - {{from: z, to: END}}\n"
            ),
        )
    };
    let routes = |first: &str| {
        edges(&format!(
            "  - {{from: x, routes: [{{condition: {{logic: default}}, to: z}}, {{condition: {{logic: \"{first}\"}}, to: y}}]}}\n"
        ))
    };
    let plain = |first: &str| {
        edges(&format!(
            "  - {{from: x, to: y, condition: \"{first}\"}}\n  - {{from: x, to: z}}\n"
        ))
    };
    for (condition, second) in [("state.a == 'x1'", "y: y"), ("state.a == 'other'", "z: z")] {
        for workflow in [routes(condition), plain(condition)] {
            let models = counting();
            Fixture::new(&plan(&workflow), &models).run(json!({})).await;
            assert_eq!(models.prompts(), ["x: x", second]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_condition_that_holds_and_no_other_edge_is_a_failure() {
    let workflow = texts(
        "a",
        &[("x", "x", "a")],
        "  - {from: START, to: x}\n  - {from: x, to: END, condition: \"state.a == 'never'\"}\n",
    );
    let ran = Fixture::new(&plan(&workflow), &counting())
        .run(json!({}))
        .await;
    let message = "Node `x`: no condition of its edges holds: add an edge without a condition";
    ran.assert_failed(FailureCode::NoRoute, message);
}

#[tokio::test(start_paused = true)]
async fn a_cycle_that_never_ends_is_stopped() {
    let workflow = texts(
        "a",
        &[("x", "x", "a")],
        "  - {from: START, to: x}\n  - {from: x, routes: [{condition: {logic: \"state.a == 'never'\"}, to: END}, \
         {condition: {logic: default}, to: x}]}\n",
    );
    let models = FakeModels::new(|_| Answer::result("again"));
    let ran = Fixture::new(&plan(&workflow), &models).run(json!({})).await;
    assert_eq!(ran.failure().code, FailureCode::StepLimit);
    assert_eq!(ran.finished.usage.llm_calls, MAX_STEPS);
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_checked_once_all_it_reads_is_written() {
    let workflow = |low: i64, high: i64| {
        let node = |id: &str, field: &str| {
            format!(
                "  - {{id: {id}, prompt: p, output_schema: {{type: int}}, outputs: [{field}]}}\n"
            )
        };
        let workflow = format!(
            "state:\n  fields:\n    low: {{type: int, default: 9}}\n    high: {{type: int, default: 0}}\n  rules:\n    \
             - {{assert: \"state.low <= state.high\", message: \"low is above high\"}}\nnodes:\n{}{}edges:\n  \
             - {{from: START, to: x}}\n  - {{from: x, to: y}}\n  - {{from: y, to: END}}\n",
            node("x", "low"),
            node("y", "high")
        );
        (
            workflow,
            FakeModels::new(move |call| Answer::result(if call.node == "x" { low } else { high })),
        )
    };
    let (text, models) = workflow(3, 4);
    let ran = Fixture::new(&plan(&text), &models).run(json!({})).await;
    assert_eq!(ran.outputs(), json!({"low": 3, "high": 4}));

    let (text, models) = workflow(5, 4);
    let ran = Fixture::new(&plan(&text), &models).run(json!({})).await;
    ran.assert_failed(
        FailureCode::RuleFailed,
        "Node `y`: its output breaks a rule of the state: low is above high",
    );
    assert_eq!(models.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_placeholder_without_a_value_fails_before_the_model_is_asked() {
    let workflow = "state:\n  fields:\n    o: {type: dict}\n    a: {type: str, default: \"\"}\nnodes:\n  \
                    - {id: x, prompt: \"{o.key}\", output_schema: {type: str}, outputs: [a]}\nedges:\n  \
                    - {from: START, to: x}\n  - {from: x, to: END}\n";
    let models = counting();
    let ran = Fixture::new(&plan(workflow), &models)
        .run(json!({"o": {"other": 1}}))
        .await;
    let failure = ran.failure();
    assert_eq!(
        (failure.code, failure.node.as_deref()),
        (FailureCode::PlaceholderUnresolved, Some("x"))
    );
    assert!(
        failure
            .message
            .starts_with("Node `x`: placeholder `{o.key}` cannot be filled"),
        "{}",
        failure.message
    );
    assert_eq!(
        ran.events(),
        [
            "run_started",
            "node_started x",
            "node_failed x",
            "run_failed"
        ]
    );
    assert!(models.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_run_is_refused_before_any_call() {
    let workflow = |more: &str| {
        format!(
            "state: {{fields: {{a: {{type: str, default: \"\"}}}}}}\nnodes:\n  - {{id: x, prompt: p, output_schema: \
             {{type: str}}, outputs: [a]{more}}}\nedges:\n  - {{from: START, to: x}}\n  - {{from: x, to: END}}\n"
        )
    };
    let models = counting();
    let shared = Shared(models.clone());
    preflight(&plan(&workflow("")), &shared).unwrap();

    let with_tools = plan(&workflow(", tools: [web_search]"));
    let failure = preflight(&with_tools, &shared).unwrap_err();
    assert_eq!(failure.code, FailureCode::NotSupported);
    assert!(
        failure
            .message
            .starts_with("Workflow `sample` cannot run: not supported yet: tools"),
        "{}",
        failure.message
    );
    let ran = Fixture::new(&with_tools, &models).run(json!({})).await;
    assert_eq!(*ran.failure(), failure);

    let without_key = plan(&workflow(", llm: {provider: anthropic, model: no-key}"));
    let failure = preflight(&without_key, &shared).unwrap_err();
    assert_eq!(failure.code, FailureCode::ModelConfig);
    assert_eq!(failure.message, "Node `x`: ANTHROPIC_API_KEY is not set");
    let ran = Fixture::new(&without_key, &models).run(json!({})).await;
    assert_eq!(*ran.failure(), failure);
    assert!(models.calls().is_empty());
}
