//! Parallel edges over the items of a list.

use std::sync::Arc;

use engine::outcome::FailureCode;
use serde_json::{Value, json};

use crate::fixture::{Answer, FakeModels, Fixture, Ran, plan};

/// `plan` fans out to `work` over `items`; afterwards `sum` sees what was collected.
fn workflow(collect: &str, prompt: &str) -> String {
    format!(
        "state:\n  fields:\n    items: {{type: \"list[int]\", required: true}}\n    res: {{default: [], \
         {collect}}}\n    one: {{type: str, default: \"none\"}}\n    plan: {{type: str, default: \"\"}}\n    sum: {{type: str, default: \"\"}}\nnodes:\n  \
         - {{id: plan, prompt: plan, output_schema: {{type: str}}, outputs: [plan]}}\n  \
         - {{id: work, prompt: \"{prompt}\", output_schema: {{type: str}}, outputs: [one]}}\n  \
         - {{id: sum, prompt: \"{{res}} {{one}}\", output_schema: {{type: str}}, outputs: [sum]}}\nedges:\n  \
         - {{from: START, to: plan}}\n  - {{from: plan, parallel: {{items_field: items, target_node: work, collect_field: res}}}}\n  \
         - {{from: work, to: sum}}\n  - {{from: sum, to: END}}\n"
    )
}

const TEXTS: &str = "type: \"list[str]\"";
const ITEM: &str = "{_parallel_index}:{state._parallel_item}";

/// Answers `work` with its prompt, the later items first.
fn echoing() -> Arc<FakeModels> {
    FakeModels::new(|call| match call.node.as_str() {
        "work" => {
            let index: u64 = call.prompt.split(':').next().unwrap().parse().unwrap();
            Answer::result(call.prompt.clone()).after(2_000 - index)
        }
        node => Answer::result(node),
    })
}

async fn run(models: &Arc<FakeModels>, fan_out: usize, items: Vec<i64>) -> Ran {
    let mut fixture = Fixture::new(&plan(&workflow(TEXTS, ITEM)), models);
    fixture.limits.fan_out = fan_out;
    fixture.run(json!({ "items": items })).await
}

#[tokio::test(start_paused = true)]
async fn results_keep_the_order_of_the_items() {
    for count in [1, 2, 1_000] {
        let models = echoing();
        let ran = run(&models, 16, (100..100 + count).collect()).await;
        let expected: Vec<String> = (0..count)
            .map(|index| format!("{index}:{}", 100 + index))
            .collect();
        let outputs = ran.outputs();
        assert_eq!(outputs["res"], json!(expected));
        assert_eq!(outputs["one"], json!(expected.last()));
        assert_eq!(models.calls().len(), 2 + expected.len());
        assert_eq!(models.most_in_flight(), expected.len().min(16));
    }
}

#[tokio::test(start_paused = true)]
async fn without_items_the_target_is_skipped_and_the_run_goes_on() {
    let models = echoing();
    let ran = run(&models, 16, Vec::new()).await;
    assert_eq!(models.prompts(), ["plan: plan", "sum: [] none"]);
    assert_eq!(ran.outputs()["res"], json!([]));
    assert_eq!(ran.outputs()["one"], json!("none"));
}

#[tokio::test(start_paused = true)]
async fn sequential_models_get_one_item_after_the_other() {
    let models = FakeModels::sequential(|call| Answer::result(call.prompt.clone()).after(10));
    run(&models, 16, vec![7, 8, 9]).await;
    assert_eq!(models.most_in_flight(), 1);
    assert_eq!(
        models.prompts()[1..4],
        ["work: 0:7", "work: 1:8", "work: 2:9"]
    );
}

#[tokio::test(start_paused = true)]
async fn events_name_the_item() {
    let ran = run(&echoing(), 16, vec![7, 8]).await;
    assert_eq!(
        ran.events()[3..7],
        [
            "node_started work 0",
            "node_started work 1",
            "node_completed work 1",
            "node_completed work 0"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_item_fails_the_run_and_aborts_the_others() {
    let models = FakeModels::new(|call| match call.prompt.as_str() {
        "1:8" => Answer::error(llm::error::ErrorKind::Auth).after(5),
        _ => Answer::result("x").after(if call.node == "work" { 60_000 } else { 0 }),
    });
    let ran = run(&models, 3, vec![7, 8, 9, 10]).await;
    ran.assert_failed(
        FailureCode::ModelError,
        "Node `work`: the model said Auth (item 1)",
    );
    assert_eq!(models.calls().len(), 4);
    assert_eq!(models.aborted(), 2);
    assert_eq!(ran.finished.execution_time_ms, 5);
}

#[tokio::test(start_paused = true)]
async fn collected_results_must_fit_their_field() {
    let check = async |collect: &str, expected: Result<Value, &str>| {
        let models =
            FakeModels::new(|call| Answer::result(if call.prompt == "1:8" { "many" } else { "5" }));
        let ran = Fixture::new(&plan(&workflow(collect, ITEM)), &models)
            .run(json!({"items": [7, 8]}))
            .await;
        match expected {
            Ok(collected) => assert_eq!(ran.outputs()["res"], collected),
            Err(message) => ran.assert_failed(FailureCode::OutputInvalid, message),
        }
    };
    check(TEXTS, Ok(json!(["5", "many"]))).await;
    check("type: list", Ok(json!(["5", "many"]))).await;
    check(
        "type: list, max_items: 1",
        Err("Node `work`: the collected results do not fit `res`: List should have at most 1 item after validation, not 2"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_target_with_several_outputs_collects_objects() {
    let workflow = "state:\n  fields:\n    items: {type: list, required: true}\n    res: {type: list, default: []}\n    \
                    name: {type: str, default: \"\"}\n    n: {type: int, default: 0}\n    p: {type: str, default: \"\"}\nnodes:\n  \
                    - {id: first, prompt: p, output_schema: {type: str}, outputs: [p]}\n  \
                    - {id: work, prompt: \"{_parallel_item}\", output_schema: {type: object, fields: [{name: name, type: str}, \
                    {name: n, type: int}]}, outputs: [n, name]}\nedges:\n  - {from: START, to: first}\n  \
                    - {from: first, parallel: {items_field: items, target_node: work, collect_field: res}}\n  - {from: work, to: END}\n";
    let models = FakeModels::new(|call| match call.node.as_str() {
        "first" => Answer::result("p"),
        _ => Answer::json(json!({"n": call.prompt.len(), "name": call.prompt, "extra": true})),
    });
    let ran = Fixture::new(&plan(workflow), &models)
        .run(json!({"items": ["a", {"k": 1}]}))
        .await;
    let outputs = ran.outputs();
    assert_eq!(
        outputs["res"],
        json!([{"name": "a", "n": 1}, {"name": "{'k': 1}", "n": 8}])
    );
    assert_eq!(outputs["name"], "{'k': 1}");
    assert_eq!(ran.finished.usage.nodes["work"].llm_calls, 2);
}

/// A list that a model fills could begin any number of calls.
#[tokio::test(start_paused = true)]
async fn more_items_than_may_be_are_refused_before_any_of_them_is_asked_for() {
    let run = async |max_items: &str, count: usize| {
        let workflow = format!(
            "state:\n  fields:\n    items: {{type: \"list[int]\", default: []}}\n    res: {{type: list, default: []}}\n    \
             one: {{type: str, default: \"\"}}\nnodes:\n  \
             - {{id: plan, prompt: plan, output_schema: {{type: \"list[int]\"}}, outputs: [items]}}\n  \
             - {{id: work, prompt: \"{ITEM}\", output_schema: {{type: str}}, outputs: [one]}}\nedges:\n  \
             - {{from: START, to: plan}}\n  \
             - {{from: plan, parallel: {{items_field: items, target_node: work, collect_field: res{max_items}}}}}\n  \
             - {{from: work, to: END}}\n"
        );
        let models = FakeModels::new(move |call| match call.node.as_str() {
            "plan" => Answer::result((0..count).collect::<Vec<_>>()),
            _ => Answer::result("x"),
        });
        let ran = Fixture::new(&plan(&workflow), &models).run(json!({})).await;
        (ran, models.calls().len())
    };
    let (ran, calls) = run("", 1_001).await;
    ran.assert_failed(
        FailureCode::TooManyItems,
        "Node `work`: `items` has 1001 items, and the node may run for 1000 at most: shorten the list, or raise \
         `max_items` on the `parallel` edge",
    );
    assert_eq!(calls, 1);
    let (ran, calls) = run("", 1_000).await;
    assert_eq!(ran.outputs()["res"].as_array().unwrap().len(), 1_000);
    assert_eq!(calls, 1_001);
    let (ran, calls) = run(", max_items: 3", 4).await;
    assert_eq!((ran.failure().code, calls), (FailureCode::TooManyItems, 1));
    let (_, calls) = run(", max_items: 1200", 1_100).await;
    assert_eq!(calls, 1_101);
}
