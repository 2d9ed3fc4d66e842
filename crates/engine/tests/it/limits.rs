//! What stops a run from outside its nodes: deadline, cancellation, budgets, gates; and streaming.

use std::sync::Arc;
use std::time::Duration;

use engine::event::EventKind;
use engine::outcome::{FailureCode, Outcome};
use lang::workflow::Budget;
use llm::error::ErrorKind;
use serde_json::json;

use crate::fixture::{Answer, FakeModels, Fixture, Ran, plan};

fn chain(more: &str) -> String {
    format!(
        "state: {{fields: {{a: {{type: str, default: \"\"}}, b: {{type: str, default: \"\"}}}}}}\nnodes:\n  \
         - {{id: x, prompt: x, output_schema: {{type: str}}, outputs: [a]}}\n  \
         - {{id: y, prompt: y, output_schema: {{type: str}}, outputs: [b]}}\nedges:\n  - {{from: START, to: x}}\n  \
         - {{from: x, to: y}}\n  - {{from: y, to: END}}\n{more}"
    )
}

fn branches(more: &str) -> String {
    chain(more).replace(
        "to: x}\n  - {from: x, to: y}",
        "to: [x, y]}\n  - {from: x, to: END}",
    )
}

fn slow(milliseconds: u64) -> Arc<FakeModels> {
    FakeModels::new(move |call| Answer::result(call.node.clone()).after(milliseconds))
}

async fn with_deadline(workflow: &str, models: &Arc<FakeModels>, milliseconds: u64) -> Ran {
    Fixture::new(&plan(workflow), models)
        .deadline(milliseconds)
        .run(json!({"items": [1, 2, 3, 4]}))
        .await
}

#[tokio::test(start_paused = true)]
async fn the_deadline_stops_a_call() {
    let models = slow(400);
    let ran = with_deadline(&chain(""), &models, 1_000).await;
    assert_eq!(ran.outputs(), json!({"a": "x", "b": "y"}));

    let ran = with_deadline(&chain(""), &models, 500).await;
    ran.assert_failed(
        FailureCode::DeadlineExceeded,
        "The run was stopped at its deadline",
    );
    assert_eq!((ran.finished.execution_time_ms, models.aborted()), (500, 1));
    assert_eq!(ran.events().last().unwrap(), "run_failed");
    assert_eq!(ran.finished.usage.llm_calls, 2);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_lets_nothing_start() {
    let models = slow(0);
    let ran = with_deadline(&chain(""), &models, 0).await;
    assert_eq!(ran.failure().code, FailureCode::DeadlineExceeded);
    assert!(models.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_stops_a_wait_between_attempts() {
    let models = FakeModels::script([(
        "x",
        vec![
            Answer::error(ErrorKind::Overloaded),
            Answer::result("x").after(900),
        ],
    )]);
    let ran = with_deadline(&chain(""), &models, 1_500).await;
    assert_eq!(ran.failure().code, FailureCode::DeadlineExceeded);
    assert_eq!(ran.finished.execution_time_ms, 1_500);
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let models = FakeModels::script([("x", vec![Answer::retry_after(ErrorKind::RateLimit, 60)])]);
    let ran = with_deadline(&chain(""), &models, 10_000).await;
    ran.assert_failed(
        FailureCode::ModelError,
        "Node `x`: the model said RateLimit; the next attempt, in 63 s, would come after the run's deadline",
    );
    assert!(ran.failure().retryable);
    assert_eq!(ran.finished.execution_time_ms, 0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_stops_a_fan_out() {
    let workflow = "state: {fields: {items: {type: list, required: true}, res: {type: list, default: []}, a: {type: str, default: \"\"}}}\nnodes:\n  \
                    - {id: x, prompt: x, output_schema: {type: str}, outputs: [a]}\n  \
                    - {id: y, prompt: \"{_parallel_item}\", output_schema: {type: str}, outputs: [a]}\nedges:\n  - {from: START, to: x}\n  \
                    - {from: x, parallel: {items_field: items, target_node: y, collect_field: res}}\n  - {from: y, to: END}\n";
    let models = slow(400);
    let ran = with_deadline(workflow, &models, 500).await;
    assert_eq!(ran.failure().code, FailureCode::DeadlineExceeded);
    assert_eq!((models.calls().len(), models.aborted()), (5, 4));
}

#[tokio::test(start_paused = true)]
async fn cancelling_aborts_the_call_at_once() {
    let models = slow(60_000);
    let fixture = Fixture::new(&plan(&branches("")), &models);
    let cancel = fixture.cancel.clone();
    let (ran, ()) = tokio::join!(fixture.run(json!({})), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        cancel.cancel();
    });
    assert!(matches!(ran.finished.outcome, Outcome::Cancelled));
    assert_eq!((ran.finished.execution_time_ms, models.aborted()), (30, 2));
    assert_eq!(
        ran.events(),
        [
            "run_started",
            "node_started x",
            "node_started y",
            "run_cancelled"
        ]
    );
    assert_eq!(ran.finished.usage.llm_calls, 2);
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_a_wait_between_attempts() {
    let models = FakeModels::script([("x", vec![Answer::retry_after(ErrorKind::RateLimit, 600)])]);
    let fixture = Fixture::new(&plan(&chain("")), &models);
    let cancel = fixture.cancel.clone();
    let (ran, ()) = tokio::join!(fixture.run(json!({})), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel();
    });
    assert!(matches!(ran.finished.outcome, Outcome::Cancelled));
    assert_eq!(ran.finished.execution_time_ms, 1_000);
}

#[tokio::test(start_paused = true)]
async fn budgets_are_checked_before_each_call() {
    // Each call takes 15 tokens and half a dollar.
    let check = async |workflow: &str, calls: usize, expected: Option<&str>| {
        let models = slow(0);
        let ran = Fixture::new(&plan(workflow), &models).run(json!({})).await;
        assert_eq!(models.calls().len(), calls, "{workflow}");
        match expected {
            None => assert_eq!(ran.outputs()["b"], "y"),
            Some(reason) => {
                let message =
                    format!("The budget is used up before a model call of node `y`: {reason}");
                ran.assert_failed(FailureCode::BudgetExceeded, &message);
                assert_eq!(ran.failure().node.as_deref(), Some("y"));
            }
        }
    };
    check(&chain("budget: {max_llm_calls: 2}"), 2, None).await;
    check(
        &chain("budget: {max_llm_calls: 1}"),
        1,
        Some("1 of 1 model calls made (`max_llm_calls`)"),
    )
    .await;
    check(
        &branches("budget: {max_llm_calls: 1}"),
        1,
        Some("1 of 1 model calls made (`max_llm_calls`)"),
    )
    .await;
    check(&chain("budget: {max_tokens: 16}"), 2, None).await;
    check(
        &chain("budget: {max_tokens: 15}"),
        1,
        Some("15 of 15 tokens used (`max_tokens`)"),
    )
    .await;
    check(&chain("budget: {max_cost_usd: 0.6}"), 2, None).await;
    check(
        &chain("budget: {max_cost_usd: 0.5}"),
        1,
        Some("0.5 of 0.5 US dollars spent (`max_cost_usd`)"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn repair_calls_and_failed_attempts_are_paid_from_the_budget_too() {
    for first in [
        Answer::json(json!({})),
        Answer::error(ErrorKind::Overloaded),
    ] {
        let models = FakeModels::script([("x", vec![first, Answer::result("x")])]);
        let ran = Fixture::new(&plan(&chain("budget: {max_llm_calls: 1}")), &models)
            .run(json!({}))
            .await;
        assert_eq!(ran.failure().code, FailureCode::BudgetExceeded);
        assert_eq!(models.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_tighter_budget_counts() {
    for (of_workflow, of_run, calls) in [(1, 9, 1), (9, 1, 1), (2, 2, 2)] {
        let models = slow(0);
        let mut fixture = Fixture::new(
            &plan(&chain(&format!("budget: {{max_llm_calls: {of_workflow}}}"))),
            &models,
        );
        fixture.limits.budget = Budget {
            max_llm_calls: Some(of_run),
            ..Budget::default()
        };
        fixture.run(json!({})).await;
        assert_eq!(models.calls().len(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_cost_is_not_within_a_cost_budget() {
    let models = FakeModels::new(|call| Answer {
        cost_usd: None,
        ..Answer::result(call.node.clone())
    });
    let ran = Fixture::new(&plan(&chain("budget: {max_cost_usd: 100}")), &models)
        .run(json!({}))
        .await;
    let failure = ran.failure();
    assert_eq!(failure.code, FailureCode::BudgetExceeded);
    assert!(
        failure
            .message
            .contains("a model without a known price has answered"),
        "{}",
        failure.message
    );
    assert_eq!(
        (models.calls().len(), ran.finished.usage.cost_usd),
        (1, None)
    );
}

#[tokio::test(start_paused = true)]
async fn gates_warn_or_fail() {
    let check = async |on_fail: &str, max: u64, fails: bool, warnings: usize| {
        let config = format!(
            "config: {{gates: {{gates: [{{metric: duration_ms, max: {max}}}], on_fail: {on_fail}}}}}\n"
        );
        let ran = Fixture::new(&plan(&chain(&config)), &slow(100))
            .run(json!({}))
            .await;
        assert_eq!(ran.finished.gate_warnings.len(), warnings);
        assert_eq!(ran.events().contains(&"gate_failed".to_owned()), max < 200);
        if fails {
            ran.assert_failed(
                FailureCode::GateFailed,
                "Gate `duration_ms`: 200 is above the maximum of 199",
            );
        } else {
            assert_eq!(ran.outputs()["b"], "y");
        }
    };
    check("warn", 200, false, 0).await;
    check("warn", 199, false, 1).await;
    check("block_deploy", 199, false, 1).await;
    check("fail", 200, false, 0).await;
    check("fail", 199, true, 0).await;

    // What a gate says itself comes first.
    let config = "config: {gates: {gates: [{metric: duration_ms, max: 199, action: fail}]}}\n";
    let ran = Fixture::new(&plan(&chain(config)), &slow(100))
        .run(json!({}))
        .await;
    assert_eq!(ran.failure().code, FailureCode::GateFailed);
}

#[tokio::test(start_paused = true)]
async fn deltas_come_only_when_streaming() {
    for stream in [true, false] {
        let mut fixture = Fixture::new(&plan(&chain("")), &slow(0));
        fixture.limits.stream = stream;
        let ran = fixture.run(json!({})).await;
        let deltas = ran
            .events
            .iter()
            .filter(|event| matches!(&event.kind, EventKind::LlmDelta { .. }))
            .count();
        assert_eq!(deltas, if stream { 2 } else { 0 });
        let ids = ran.events.iter().map(|event| event.id);
        // Theirs is 0, which is none.
        let ids: Vec<u64> = ids.filter(|id| *id > 0).collect();
        assert_eq!(
            ids,
            (1..=6).collect::<Vec<_>>(),
            "a delta has no id of its own"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_run_aborts_its_calls() {
    let models = slow(60_000);
    let run = Fixture::new(&plan(&branches("")), &models).run(json!({}));
    tokio::time::timeout(Duration::from_secs(1), run)
        .await
        .unwrap_err();
    assert_eq!(models.aborted(), 2);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_runs_wait_at_once() {
    let plan = plan(&chain(""));
    let started = tokio::time::Instant::now();
    let runs = (0..10_000).map(|_| Fixture::new(&plan, &slow(5_000)).run(json!({})));
    let ran = futures_util::future::join_all(runs).await;
    assert!(
        ran.iter()
            .all(|ran| ran.outputs() == json!({"a": "x", "b": "y"}))
    );
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}
