//! Runs that stop at a checkpoint and go on from it: nothing that was done is done again.

use std::fmt::Write as _;
use std::sync::Arc;

use engine::outcome::FailureCode;
use engine::plan::Plan;
use engine::progress::Progress;
use engine::run::Start;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{Answer, FakeModels, Fixture, Ran, Saves, accepted, plan};

/// What a generated node is like, apart from its edges.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    EdgeLoop,
    NodeLoop,
    FanOutTarget,
}

/// One generated node. The numbers choose among what is possible at its place.
#[derive(Debug, Clone)]
struct Recipe {
    kind: Kind,
    parent: usize,
    other_parent: usize,
    rounds: usize,
    delay_ms: u64,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let kind = prop_oneof![
        3 => Just(Kind::Plain),
        1 => Just(Kind::EdgeLoop),
        1 => Just(Kind::NodeLoop),
        2 => Just(Kind::FanOutTarget),
    ];
    (kind, any::<u16>(), any::<u16>(), 1..4_usize, 0..40_u64).prop_map(
        |(kind, parent, other, rounds, delay_ms)| Recipe {
            kind,
            parent: parent.into(),
            other_parent: other.into(),
            rounds,
            delay_ms,
        },
    )
}

/// A workflow of these nodes: each comes after an earlier one, some after two; the last one goes back
/// to the first, once. Every node writes fields of its own and shows the whole state in its prompt, so
/// that any difference between two runs reaches the end.
fn workflow(recipes: &[Recipe]) -> String {
    let count = recipes.len();
    let all = (0..count)
        .map(|i| format!(" {{f{i}}} {{c{i}}}"))
        .collect::<Vec<_>>()
        .concat();
    let mut has_parallel_edge = vec![false; count];
    let (mut fields, mut nodes, mut edges) = (
        String::new(),
        String::new(),
        "  - {from: START, to: n0}\n".to_owned(),
    );
    for (i, recipe) in recipes.iter().enumerate() {
        let parent = recipe.parent.checked_rem(i);
        let fans_out = recipe.kind == Kind::FanOutTarget
            && parent.is_some_and(|parent| !has_parallel_edge[parent]);
        let item = if fans_out { " {_parallel_item}" } else { "" };
        write!(
            fields,
            "    f{i}: {{type: str, default: \"\"}}\n    d{i}: {{type: bool, default: false}}\n    \
             c{i}: {{type: list, default: []}}\n"
        )
        .unwrap();
        write!(
            nodes,
            "  - id: n{i}\n    prompt: \"n{i} {{_loop_iteration_n{i}}}{item}{all}\"\n    output_schema: {{type: object, fields: \
             [{{name: f{i}, type: str}}, {{name: d{i}, type: bool}}]}}\n    outputs: [f{i}, d{i}]\n"
        )
        .unwrap();
        let rounds = recipe.rounds;
        match recipe.kind {
            Kind::NodeLoop => writeln!(nodes, "    loop: {{max_iterations: {rounds}}}").unwrap(),
            Kind::EdgeLoop => writeln!(
                edges,
                "  - {{from: n{i}, loop: {{condition_field: d{i}, exit_to: END, max_iterations: {rounds}}}}}"
            )
            .unwrap(),
            Kind::Plain | Kind::FanOutTarget => {}
        }
        match parent {
            None => {}
            Some(parent) if fans_out => {
                has_parallel_edge[parent] = true;
                writeln!(
                    edges,
                    "  - {{from: n{parent}, parallel: {{items_field: items, target_node: n{i}, collect_field: c{i}}}}}"
                )
                .unwrap();
            }
            Some(parent) => {
                writeln!(edges, "  - {{from: n{parent}, to: n{i}}}").unwrap();
                let other = recipe.other_parent % i;
                if other != parent {
                    writeln!(edges, "  - {{from: n{other}, to: n{i}}}").unwrap();
                }
            }
        }
        writeln!(edges, "  - {{from: n{i}, to: END}}").unwrap();
    }
    let last = count - 1;
    writeln!(
        edges,
        "  - {{from: n{last}, to: n0, condition: \"state._loop_iteration_n{last} < 2\"}}"
    )
    .unwrap();
    format!(
        "state:\n  fields:\n    items: {{type: list, default: [1, 2, 3]}}\n{fields}nodes:\n{nodes}edges:\n{edges}"
    )
}

/// Answers by the prompt alone, as late as the recipe of the node says, items in a different order.
fn models(recipes: &[Recipe]) -> Arc<FakeModels> {
    let delays: Vec<u64> = recipes.iter().map(|recipe| recipe.delay_ms).collect();
    FakeModels::new(move |call| {
        let node: usize = call.node[1..].parse().unwrap();
        let digest = call.prompt.bytes().fold(7_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        let answer =
            json!({format!("f{node}"): digest.to_string(), format!("d{node}"): digest % 5 == 0});
        Answer::json(answer).after(delays[node] + u64::from(digest % 7))
    })
}

/// The saves of a run that loses its job at the given save, or of one that never does.
async fn saves_of(
    plan: &Arc<Plan>,
    models: &Arc<FakeModels>,
    refuse_from: Option<usize>,
) -> (Option<Ran>, Vec<Progress>) {
    let checkpoint = Arc::new(Saves {
        refuse_from,
        ..Saves::default()
    });
    let mut fixture = Fixture::new(plan, models);
    fixture.checkpoint = checkpoint.clone();
    let ran = fixture
        .start(Start::Fresh(accepted(plan, &Value::Null)))
        .await;
    let saved = std::mem::take(&mut *checkpoint.saved.lock().unwrap());
    (ran.ok(), saved)
}

async fn resumes_from_every_checkpoint(recipes: &[Recipe]) {
    let plan = plan(&workflow(recipes));
    let all_models = models(recipes);
    let (whole, all_saves) = saves_of(&plan, &all_models, None).await;
    let whole = whole.expect("nothing was refused");
    let calls = all_models.calls().len();
    assert_eq!(all_saves.len(), calls, "each call is saved once it is done");

    for crash in 1..=calls {
        let (ended, saves) =
            saves_of(&plan, &models(recipes), (crash < calls).then_some(crash)).await;
        assert_eq!(ended.is_some(), crash == calls);
        let progress = saves.last().expect("at least one save came before").clone();
        let (calls_before, last_event) = (progress.usage.llm_calls, progress.last_event);
        let models = models(recipes);
        let resumed = Fixture::new(&plan, &models)
            .start(Start::Resume(Box::new(progress)))
            .await
            .unwrap();
        assert_eq!(
            resumed.outputs(),
            whole.outputs(),
            "after a crash at save {crash}"
        );
        assert_eq!(
            models.calls().len(),
            calls - crash,
            "calls after a crash at save {crash}"
        );
        assert_eq!(
            resumed.finished.usage.llm_calls,
            calls_before + models.calls().len() as u64
        );
        assert_eq!(resumed.events[0].id, last_event + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn a_run_resumed_from_any_checkpoint_ends_the_same_and_repeats_nothing(
        recipes in proptest::collection::vec(recipe(), 2..7),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(resumes_from_every_checkpoint(&recipes));
    }
}

const TWO: &str = "state: {fields: {a: {type: str, default: \"\"}, b: {type: str, default: \"\"}}}\nnodes:\n  \
                   - {id: x, prompt: x, output_schema: {type: str}, outputs: [a]}\n  \
                   - {id: y, prompt: \"{a}\", output_schema: {type: str}, outputs: [b]}\nedges:\n  - {from: START, to: x}\n  \
                   - {from: x, to: y}\n  - {from: y, to: END}\n";

fn slow() -> Arc<FakeModels> {
    FakeModels::new(|call| Answer::result(call.node.clone()).after(100))
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_says_so_and_goes_on_counting() {
    let plan = plan(TWO);
    let (_, saves) = saves_of(&plan, &slow(), Some(1)).await;
    let resumed = Fixture::new(&plan, &slow())
        .start(Start::Resume(Box::new(saves[0].clone())))
        .await
        .unwrap();
    assert_eq!(
        resumed.events(),
        [
            "run_started",
            "node_started y",
            "node_completed y",
            "run_completed"
        ]
    );
    assert_eq!(
        serde_json::to_value(&resumed.events[0]).unwrap()["resumed"],
        json!(true)
    );
    assert_eq!(resumed.events[0].id, 4);
    assert_eq!(resumed.finished.execution_time_ms, 200);
    assert_eq!(resumed.finished.usage.nodes.len(), 2);
    assert_eq!(resumed.finished.usage.cost_usd, Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn no_call_starts_after_a_save_was_refused() {
    let models = slow();
    let (ended, _) = saves_of(&plan(TWO), &models, Some(0)).await;
    assert!(ended.is_none());
    assert_eq!(models.prompts(), ["x: x"]);
}

#[tokio::test(start_paused = true)]
async fn progress_of_another_workflow_is_refused() {
    let (_, saves) = saves_of(&plan(TWO), &slow(), None).await;
    let other = plan(&TWO.replace(
        "b: {type: str, default: \"\"}",
        "b: {type: str}, c: {type: str}",
    ));
    let models = slow();
    let ran = Fixture::new(&other, &models)
        .start(Start::Resume(Box::new(saves[0].clone())))
        .await
        .unwrap();
    assert_eq!(ran.failure().code, FailureCode::Internal);
    assert!(models.calls().is_empty());
}
