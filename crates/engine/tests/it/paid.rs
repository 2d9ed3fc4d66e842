//! Calls that were paid for without an answer, and what may run beside each other within a budget.

use std::time::Duration;

use engine::event::EventKind;
use engine::outcome::{FailureCode, Outcome};
use engine::progress::Progress;
use engine::run::Start;
use lang::workflow::Budget;
use llm::error::ErrorKind;
use llm::tokens::estimate;
use serde_json::json;

use crate::fixture::{Answer, FakeModels, Fixture, Ran, accepted, plan, stored};
use crate::quota::FakeQuota;

const ONE: &str = "state: {fields: {a: {type: str, default: \"\"}}}\nnodes:\n  \
    - {id: x, prompt: a prompt of thirty characters.., output_schema: {type: str}, outputs: [a]}\nedges:\n  \
    - {from: START, to: x}\n  - {from: x, to: END}\nconfig: {execution: {max_retries: 1}}\n";

const BRANCHES: &str = "state: {fields: {a: {type: str, default: \"\"}, b: {type: str, default: \"\"}}}\nnodes:\n  \
    - {id: x, prompt: x, output_schema: {type: str}, outputs: [a]}\n  \
    - {id: y, prompt: y, output_schema: {type: str}, outputs: [b]}\nedges:\n  \
    - {from: START, to: [x, y]}\n  - {from: x, to: END}\n  - {from: y, to: END}\n";

fn items(answer_limit: u32) -> String {
    format!(
        "state: {{fields: {{items: {{type: list, required: true}}, res: {{type: list, default: []}}, a: {{type: str, default: \"\"}}}}}}\nnodes:\n  \
         - {{id: x, prompt: x, output_schema: {{type: str}}, outputs: [a], llm: {{max_tokens: {answer_limit}}}}}\n  \
         - {{id: y, prompt: \"{{_parallel_item}}\", output_schema: {{type: str}}, outputs: [a], llm: {{max_tokens: {answer_limit}}}}}\nedges:\n  \
         - {{from: START, to: x}}\n  \
         - {{from: x, parallel: {{items_field: items, target_node: y, collect_field: res}}}}\n  - {{from: y, to: END}}\n"
    )
}

/// Runs it and cancels it after some time.
async fn cancelled(fixture: Fixture, after: Duration) -> Ran {
    let cancel = fixture.cancel.clone();
    let (ran, ()) = tokio::join!(fixture.run(json!({})), async {
        tokio::time::sleep(after).await;
        cancel.cancel();
    });
    assert!(matches!(ran.finished.outcome, Outcome::Cancelled));
    ran
}

/// The usage that the quota was told equals the usage of the run.
#[track_caller]
fn assert_settled(ran: &Ran, quota: &FakeQuota, output_tokens: u64) {
    let usage = &ran.finished.usage;
    let last = quota.last();
    assert_eq!(
        last,
        format!("settle {}+{}", usage.input_tokens, usage.output_tokens)
    );
    assert_eq!(usage.output_tokens, output_tokens);
    assert!(usage.input_tokens > 8 && usage.is_estimated, "{usage:?}");
    assert!(usage.nodes["x"].is_estimated);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_read_live_is_paid_though_it_was_broken_off() {
    let text = "so many words ".repeat(2_000);
    let live = |answer: Answer| {
        let models = FakeModels::new(move |_| answer.clone());
        let quota = FakeQuota::of(1);
        let mut fixture = Fixture::new(&plan(ONE), &models);
        fixture.limits.quota = Some(quota.clone());
        fixture.limits.stream = true;
        (fixture, quota)
    };
    let long = Answer::text(&text).in_pieces(10);
    let expected = estimate(&text);
    assert_eq!(expected, 7_000);

    let (fixture, quota) = live(long.clone().after(60_000));
    let ran = cancelled(fixture, Duration::from_secs(1)).await;
    assert_settled(&ran, &quota, expected);

    let (fixture, quota) = live(long.clone().after(600_000));
    let ran = fixture.run(json!({})).await;
    assert_eq!(ran.failure().code, FailureCode::ModelTimeout);
    assert_settled(&ran, &quota, expected);

    let mut broken = Answer::error(ErrorKind::Network);
    broken.pieces = long.pieces;
    let (fixture, quota) = live(broken);
    let ran = fixture.run(json!({})).await;
    assert_eq!(ran.failure().code, FailureCode::ModelError);
    assert_settled(&ran, &quota, expected);
}

/// Of an answer that comes as a whole nothing can be seen: what may have been written by then
/// counts, up to what was reserved.
#[tokio::test(start_paused = true)]
async fn a_whole_answer_that_was_broken_off_is_paid_by_its_time_and_its_limit() {
    for (after_ms, output_tokens) in [(0, 0), (50, 200), (30_000, 4_096)] {
        let models = FakeModels::new(|_| Answer::result("x").after(60_000));
        let quota = FakeQuota::of(1);
        let mut fixture = Fixture::new(&plan(ONE), &models);
        fixture.limits.quota = Some(quota.clone());
        let ran = cancelled(fixture, Duration::from_millis(after_ms)).await;
        assert_settled(&ran, &quota, output_tokens);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_refused_is_not_paid() {
    let models = FakeModels::new(|_| Answer::error(ErrorKind::BadRequest));
    let ran = Fixture::new(&plan(ONE), &models).run(json!({})).await;
    let usage = &ran.finished.usage;
    assert_eq!((usage.input_tokens, usage.cost_usd), (0, Some(0.0)));
    assert!(!usage.is_estimated);
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_used_up_budget_aborts_are_paid() {
    let models = FakeModels::new(|call| match &*call.node {
        "x" => Answer::json(json!({})).after(10),
        _ => Answer::result("y").after(60_000),
    });
    let mut fixture = Fixture::new(&plan(BRANCHES), &models);
    fixture.limits.stream = true;
    fixture.limits.budget.max_llm_calls = Some(2);
    let ran = fixture.run(json!({})).await;
    assert_eq!(ran.failure().code, FailureCode::BudgetExceeded);
    assert_eq!(models.aborted(), 1);
    let aborted = &ran.finished.usage.nodes["y"];
    assert_eq!(aborted.output_tokens, estimate("a piece"));
    assert!(
        aborted.input_tokens > 0 && aborted.is_estimated,
        "{aborted:?}"
    );
    assert!(!ran.finished.usage.nodes["x"].is_estimated);
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_at_a_crash_are_paid_when_the_run_goes_on() {
    for was_interrupted in [false, true] {
        let models = FakeModels::new(|_| Answer::result("x"));
        let quota = FakeQuota::of(1);
        let mut fixture = Fixture::new(&plan(ONE), &models);
        fixture.limits.quota = Some(quota.clone());
        fixture.limits.was_interrupted = was_interrupted;
        let ran = fixture.run(json!({})).await;
        let usage = &ran.finished.usage;
        let lost = u64::from(was_interrupted);
        assert_eq!(usage.llm_calls, 1 + lost);
        assert_eq!(usage.output_tokens, 5 + 4_096 * lost);
        assert_eq!(usage.is_estimated, lost > 0);
        let expected = format!("settle {}+4096", usage.input_tokens - 10);
        let notes = quota.notes();
        let paid = notes.iter().filter(|note| **note == expected).count();
        assert_eq!(paid, usize::from(was_interrupted), "{notes:?}");
    }
}

/// No more items can have been in flight than may run at the same time.
#[tokio::test(start_paused = true)]
async fn of_a_fan_out_at_a_crash_only_what_runs_at_once_is_paid() {
    let models = FakeModels::new(|_| Answer::result("x"));
    let mut fixture = Fixture::new(&plan(&items(100)), &models);
    fixture.limits.fan_out = 3;
    fixture.limits.was_interrupted = true;
    let start = {
        // The step of the fan-out is the one that had begun.
        let inputs = json!({ "items": (0..10).collect::<Vec<_>>() });
        let earlier = Fixture::new(&fixture.plan, &models).run(inputs.clone());
        let mut progress = Progress::new(fixture.plan.workflow(), accepted(&fixture.plan, &inputs));
        for event in earlier.await.events.iter().take(3) {
            progress.replay(&fixture.plan, &stored(event)).unwrap();
        }
        progress.settle(&fixture.plan);
        Start::Resume(Box::new(progress))
    };
    let ran = fixture.start(start).await.unwrap();
    let of_items = &ran.finished.usage.nodes["y"];
    assert_eq!(of_items.llm_calls, 10 + 3);
    assert_eq!(of_items.output_tokens, 10 * 5 + 3 * 100);
}

/// Each call takes 15 tokens, of 100 and some that it may take.
#[tokio::test(start_paused = true)]
async fn a_fan_out_exceeds_its_budget_by_one_call_at_most() {
    let run = async |max_tokens| {
        let models = FakeModels::new(|_| Answer::result("x").after(1_000));
        let mut fixture = Fixture::new(&plan(&items(100)), &models);
        fixture.limits.budget = Budget {
            max_tokens: Some(max_tokens),
            ..Budget::default()
        };
        let list: Vec<_> = (0..100).collect();
        let ran = fixture.run(json!({ "items": list })).await;
        (ran, models)
    };
    let (ran, models) = run(200).await;
    let failure = ran.failure();
    assert_eq!(failure.code, FailureCode::BudgetExceeded);
    let usage = &ran.finished.usage;
    // Calls that were aborted count with what they may have taken.
    let most = 200 + 15 + 100 + 400;
    assert!(usage.input_tokens + usage.output_tokens < most, "{usage:?}");
    assert!(models.calls().len() < 16, "{}", models.calls().len());
    // Where the budget leaves room for all, nothing waits.
    let (ran, models) = run(100_000).await;
    assert_eq!(ran.outputs()["res"].as_array().unwrap().len(), 100);
    assert_eq!(models.most_in_flight(), 16);
}

/// A price that is not known yet could be any.
#[tokio::test(start_paused = true)]
async fn a_cost_budget_lets_one_call_of_unknown_price_start() {
    let models = FakeModels::new(|_| Answer {
        cost_usd: None,
        ..Answer::result("x").after(1_000)
    });
    let mut fixture = Fixture::new(&plan(BRANCHES), &models);
    fixture.limits.budget.max_cost_usd = Some(100.0);
    let ran = fixture.run(json!({})).await;
    assert_eq!(ran.failure().code, FailureCode::BudgetExceeded);
    assert_eq!(models.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_failed_tells_how_long_it_took() {
    let models = FakeModels::new(|_| Answer::error(ErrorKind::BadRequest).after(400));
    let ran = Fixture::new(&plan(ONE), &models).run(json!({})).await;
    let durations: Vec<u64> = ran
        .events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::NodeFailed { duration_ms, .. } => Some(duration_ms),
            _ => None,
        })
        .collect();
    assert_eq!(durations, [400]);
}
