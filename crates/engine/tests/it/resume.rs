//! Runs that stop at a checkpoint and go on from it: nothing that was done is done again.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::event::{EventKind, RunEvent};
use engine::outcome::FailureCode;
use engine::plan::Plan;
use engine::progress::{Checkpoint, CheckpointError, Progress};
use engine::replay::ForeignEvent;
use engine::run::Start;
use llm::error::ErrorKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{Answer, FakeModels, Fixture, Ran, Recorder, Saves, accepted, plan, stored};

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

/// A workflow of these nodes: each comes after an earlier one, some after two; the last one goes
/// back to the first, once. Every node writes fields of its own and shows the whole state in its
/// prompt, so that any difference between two runs reaches the end.
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

/// What a run left behind that loses its job at the given save, or one that never does.
struct Left {
    ended: Option<Ran>,
    /// Saved as a whole.
    saved: Vec<Progress>,
    saves: usize,
    events: Vec<RunEvent>,
}

async fn left_by(plan: &Arc<Plan>, models: &Arc<FakeModels>, refuse_from: Option<usize>) -> Left {
    let checkpoint = Arc::new(Saves {
        refuse_from,
        ..Saves::default()
    });
    let recorder = Arc::new(Recorder::default());
    let mut fixture = Fixture::new(plan, models);
    fixture.checkpoint = checkpoint.clone();
    let start = Start::Fresh(accepted(plan, &Value::Null));
    let ended = fixture.start_telling(start, recorder.clone()).await.ok();
    let events = match &ended {
        Some(ran) => ran.events.clone(),
        None => std::mem::take(&mut *recorder.0.lock().unwrap()),
    };
    Left {
        ended,
        saved: std::mem::take(&mut *checkpoint.saved.lock().unwrap()),
        saves: checkpoint.count.load(Ordering::SeqCst),
        events,
    }
}

impl Left {
    /// Where the run goes on when the events up to that one were stored, with what was saved by
    /// then.
    fn position(&self, plan: &Plan, last_event: u64) -> Progress {
        let saved = self
            .saved
            .iter()
            .rfind(|progress| progress.last_event <= last_event);
        let mut progress = saved
            .cloned()
            .unwrap_or_else(|| Progress::new(plan.workflow(), accepted(plan, &Value::Null)));
        let after = progress.last_event;
        for event in &self.events {
            if (after + 1..=last_event).contains(&event.id) {
                progress.replay(plan, &stored(event)).unwrap();
            }
        }
        assert_eq!(progress.last_event, last_event);
        progress
    }

    /// Executions that had completed by then.
    fn completed(&self, last_event: u64) -> usize {
        let events = self.events.iter().filter(|event| event.id <= last_event);
        events.filter(|event| is_completion(event)).count()
    }
}

/// The same after it was in a store, where what the inputs make is left out.
fn kept(plan: &Plan, progress: &Progress) -> Progress {
    let text = serde_json::to_string(&progress.without_inputs()).unwrap();
    let mut read: Progress = serde_json::from_str(&text).unwrap();
    assert!(read.lacks_inputs());
    read.with_inputs(accepted(plan, &Value::Null));
    assert_eq!(&read, progress);
    read
}

fn is_completion(event: &RunEvent) -> bool {
    matches!(event.kind, EventKind::NodeCompleted { .. })
}

async fn resumes_from_everywhere(recipes: &[Recipe]) {
    let plan = plan(&workflow(recipes));
    let all_models = models(recipes);
    let whole = left_by(&plan, &all_models, None).await;
    let outputs = whole.ended.as_ref().expect("nothing was refused").outputs();
    let calls = all_models.calls().len();
    assert_eq!(
        whole.saves,
        calls - 1,
        "each call is saved once it is done, the last with the end of the run"
    );
    let last = whole.events.len() as u64 - 1;

    // For every point of the last save, whether or not the run had continued after it.
    let completions = whole.events.iter().filter(|event| is_completion(event));
    for last_event in completions.map(|event| event.id).chain([0, 1, last]) {
        let progress = whole.position(&plan, last_event);
        let done = whole.completed(last_event);
        assert_eq!(progress.usage.llm_calls, done as u64);
        let models = models(recipes);
        let resumed = Fixture::new(&plan, &models)
            .start(Start::Resume(Box::new(kept(&plan, &progress))))
            .await
            .unwrap();
        assert_eq!(resumed.outputs(), outputs, "after event {last_event}");
        assert_eq!(
            models.calls().len(),
            calls - done,
            "calls after event {last_event}"
        );
        assert_eq!(resumed.finished.usage.llm_calls, calls as u64);
        assert_eq!(resumed.events[0].id, last_event + 1);
    }

    for refused in 0..whole.saves {
        let models = models(recipes);
        let left = left_by(&plan, &models, Some(refused)).await;
        assert!(left.ended.is_none());
        let started = |event: &&RunEvent| matches!(event.kind, EventKind::NodeStarted { .. });
        assert_eq!(left.saves, refused);
        assert_eq!(
            left.events.iter().filter(started).count(),
            models.calls().len()
        );
        assert_eq!(
            left.completed(u64::MAX),
            refused + 1,
            "the run stops at the save after execution {refused}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn a_run_resumed_after_any_event_ends_the_same_and_repeats_nothing(
        recipes in proptest::collection::vec(recipe(), 2..7),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(resumes_from_everywhere(&recipes));
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
    let left = left_by(&plan, &slow(), Some(1)).await;
    assert!(left.ended.is_some(), "the second node's end is the run's");
    let resumed = Fixture::new(&plan, &slow())
        .start(Start::Resume(Box::new(left.position(&plan, 3))))
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
    let left = left_by(&plan(TWO), &models, Some(0)).await;
    assert!(left.ended.is_none());
    assert_eq!(models.prompts(), ["x: x"]);
}

#[tokio::test(start_paused = true)]
async fn progress_of_another_workflow_is_refused() {
    let first = plan(TWO);
    let left = left_by(&first, &slow(), None).await;
    let other = plan(&TWO.replace(
        "b: {type: str, default: \"\"}",
        "b: {type: str}, c: {type: str}",
    ));
    let models = slow();
    let mut progress = left.position(&first, 3);
    let ran = Fixture::new(&other, &models)
        .start(Start::Resume(Box::new(progress.clone())))
        .await
        .unwrap();
    assert_eq!(ran.failure().code, FailureCode::Internal);
    assert!(models.calls().is_empty());

    let completion = left
        .events
        .iter()
        .rfind(|event| is_completion(event))
        .unwrap();
    assert_eq!(
        progress.replay(&other, completion),
        Err(ForeignEvent(completion.id))
    );
}

/// A fan-out over the items 0 to 9, four at once, then a node.
const ITEMS: &str = "state: {fields: {items: {type: list, default: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}, one: {type: str, default: \"\"}, \
                     all: {type: list, default: []}, end: {type: str, default: \"\"}}}\nnodes:\n  \
                     - {id: first, prompt: x, output_schema: {type: str}, outputs: [end]}\n  \
                     - {id: each, prompt: \"{_parallel_item}\", output_schema: {type: str}, outputs: [one]}\n  \
                     - {id: last, prompt: \"{all}\", output_schema: {type: str}, outputs: [end]}\nedges:\n  \
                     - {from: START, to: first}\n  \
                     - {from: first, parallel: {items_field: items, target_node: each, collect_field: all}}\n  \
                     - {from: each, to: last}\n  - {from: last, to: END}\n";

#[tokio::test(start_paused = true)]
async fn the_items_of_a_fan_out_are_saved_by_their_events_alone() {
    let plan = plan(ITEMS);
    let whole = left_by(&plan, &slow(), None).await;
    assert_eq!((whole.saves, whole.saved.len()), (11, 0));
    let sixth = whole
        .events
        .iter()
        .filter(|event| is_completion(event))
        .nth(6)
        .unwrap();
    let progress = whole.position(&plan, sixth.id);
    assert_eq!(progress.elapsed_ms, 200);
    let models = slow();
    let resumed = Fixture::new(&plan, &models)
        .start(Start::Resume(Box::new(progress)))
        .await
        .unwrap();
    assert_eq!(resumed.outputs(), whole.ended.unwrap().outputs());
    assert_eq!(
        models.prompts()[..4],
        ["each: 6", "each: 7", "each: 8", "each: 9"]
    );
    assert_eq!(models.calls().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_ends_a_loop_is_not_repeated() {
    let plan = plan(
        "state: {fields: {a: {type: str, default: \"\"}, b: {type: str, default: \"\"}}}\nnodes:\n  \
         - {id: x, prompt: x, output_schema: {type: str}, outputs: [a], loop: {max_iterations: 3, break_on_error: true}}\n  \
         - {id: y, prompt: y, output_schema: {type: str}, outputs: [b], loop: {max_iterations: 2}}\nedges:\n  \
         - {from: START, to: [x, y]}\n  - {from: x, to: END}\n  - {from: y, to: END}\n\
         config: {execution: {max_retries: 1}}\n",
    );
    let answers = || {
        FakeModels::new(|call| match (&*call.node, call.nth) {
            ("x", 1) => Answer::error(ErrorKind::BadRequest).after(10),
            ("y", _) => Answer::result("y").after(100),
            _ => Answer::result("x"),
        })
    };
    let whole = left_by(&plan, &answers(), None).await;
    let failed = whole
        .events
        .iter()
        .position(|event| matches!(event.kind, EventKind::NodeFailed { .. }));
    let failed = failed.expect("the second round fails") as u64 + 1;
    let progress = whole.position(&plan, failed);
    let calls = progress.usage.llm_calls;
    let models = answers();
    let resumed = Fixture::new(&plan, &models)
        .start(Start::Resume(Box::new(progress)))
        .await
        .unwrap();
    assert_eq!(resumed.outputs(), whole.ended.unwrap().outputs());
    assert!(
        models.prompts().iter().all(|prompt| prompt == "y: y"),
        "{:?}",
        models.prompts()
    );
    assert_eq!(
        resumed.finished.usage.llm_calls,
        calls + models.calls().len() as u64
    );
}

/// Saves once node `y` has completed, which it must not be kept from.
struct Patient(Arc<Recorder>);

#[async_trait::async_trait]
impl Checkpoint for Patient {
    async fn save(&self, _: &Progress) -> Result<(), CheckpointError> {
        let completed = |event: &RunEvent| matches!(&event.kind, EventKind::NodeCompleted { node, .. } if &**node == "y");
        while !self.0.0.lock().unwrap().iter().any(completed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn answers_of_other_items_are_read_while_a_checkpoint_is_being_saved() {
    let plan = plan(
        "state: {fields: {a: {type: str, default: \"\"}, b: {type: str, default: \"\"}}}\nnodes:\n  \
         - {id: x, prompt: x, output_schema: {type: str}, outputs: [a]}\n  \
         - {id: y, prompt: y, output_schema: {type: str}, outputs: [b]}\nedges:\n  - {from: START, to: [x, y]}\n  \
         - {from: x, to: END}\n  - {from: y, to: END}\n",
    );
    let models =
        FakeModels::new(|call| Answer::result("ok").after(if call.node == "x" { 10 } else { 500 }));
    let recorder = Arc::new(Recorder::default());
    let mut fixture = Fixture::new(&plan, &models);
    fixture.checkpoint = Arc::new(Patient(recorder.clone()));
    let start = Start::Fresh(accepted(&plan, &Value::Null));
    let ran = fixture.start_telling(start, recorder);
    let ran = tokio::time::timeout(Duration::from_mins(1), ran).await;
    let ran = ran.expect("nothing waits for ever").unwrap();
    assert_eq!(ran.outputs(), json!({"a": "ok", "b": "ok"}));
}
