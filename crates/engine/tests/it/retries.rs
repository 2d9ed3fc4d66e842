//! Attempts at a model: what is tried again, how, how often, and how the failure reads in the end.

use std::sync::Arc;

use engine::event::EventKind;
use engine::outcome::{CutOff, FailureCode, FailureSource};
use llm::chat::FinishReason;
use llm::error::ErrorKind;
use serde_json::{Value, json};

use crate::fixture::{Answer, FakeModels, Fixture, Ran, plan};

fn workflow(schema: &str, field: &str, config: &str) -> String {
    format!(
        "state: {{fields: {{out: {field}}}}}\nnodes:\n  - {{id: ask, prompt: \"How many?\", output_schema: {schema}, \
         outputs: [out]}}\nedges:\n  - {{from: START, to: ask}}\n  - {{from: ask, to: END}}\n{config}"
    )
}

fn int(config: &str) -> String {
    workflow("{type: int}", "{type: int, default: 0}", config)
}

async fn run(workflow: &str, answers: Vec<Answer>) -> (Ran, Arc<FakeModels>) {
    let models = FakeModels::script([("ask", answers)]);
    (
        Fixture::new(&plan(workflow), &models).run(json!({})).await,
        models,
    )
}

fn retries(ran: &Ran) -> Vec<(u32, String, u64)> {
    let retried = |kind: &EventKind| match kind {
        EventKind::NodeRetried {
            attempt,
            reason,
            wait_ms,
            ..
        } => Some((*attempt, reason.clone(), *wait_ms)),
        _ => None,
    };
    ran.events
        .iter()
        .filter_map(|event| retried(&event.kind))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_misfit_is_asked_for_again_with_what_was_wrong() {
    let (ran, models) = run(&int(""), vec![Answer::result("many"), Answer::result(5)]).await;
    assert_eq!(ran.outputs(), json!({"out": 5}));
    let calls = models.calls();
    assert_eq!(calls[0].prompt, "How many?");
    let retry = &calls[1].prompt;
    assert!(
        retry.starts_with("How many?\n\nYour previous answer could not be used: result: "),
        "{retry}"
    );
    assert!(
        retry.contains(
            r#"It was:
{"result":"many"}"#
        ),
        "{retry}"
    );
    let [(1, reason, 0)] = &retries(&ran)[..] else {
        panic!("{:?}", retries(&ran))
    };
    assert!(
        !reason.contains("many"),
        "the answer is not for observers: {reason}"
    );
    assert_eq!(ran.finished.usage.llm_calls, 2);
    assert_eq!(ran.finished.usage.output_tokens, 10);
}

#[tokio::test(start_paused = true)]
async fn a_second_misfit_replaces_the_remark_on_the_first() {
    let answers = vec![
        Answer::result("first"),
        Answer::result("second"),
        Answer::result(5),
    ];
    let (_, models) = run(&int(""), answers).await;
    let last = &models.calls()[2].prompt;
    assert!(
        last.starts_with("How many?\n\n") && last.contains("second") && !last.contains("first"),
        "{last}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_shown_again_in_part() {
    let (_, models) = run(
        &int(""),
        vec![Answer::result("ä".repeat(10_000)), Answer::result(5)],
    )
    .await;
    let retry = &models.calls()[1].prompt;
    assert!(
        retry.chars().count() < 2_500 && retry.contains('…'),
        "{retry}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_coerced_to_the_schema_or_refused() {
    let text = workflow(
        "{type: str}",
        "{type: str, default: \"\"}",
        "config: {execution: {max_retries: 1}}\n",
    );
    let int = int("config: {execution: {max_retries: 1}}\n");
    let check = async |workflow: &str, answer: Answer, expected: Option<Value>| {
        let (ran, _) = run(workflow, vec![answer.clone()]).await;
        match expected {
            Some(expected) => assert_eq!(ran.outputs()["out"], expected, "{answer:?}"),
            None => assert_eq!(ran.failure().code, FailureCode::OutputInvalid, "{answer:?}"),
        }
    };
    check(&int, Answer::result("5"), Some(json!(5))).await;
    check(
        &int,
        Answer::json(json!({"result": 5, "more": 1})),
        Some(json!(5)),
    )
    .await;
    check(&int, Answer::text("5"), None).await;
    check(&int, Answer::json(json!([5])), None).await;
    check(&int, Answer::json(json!({"out": 5})), None).await;
    check(&text, Answer::result(" x "), Some(json!(" x "))).await;
    check(&text, Answer::result(5), None).await;
    check(&text, Answer::text("plain words"), None).await;
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_shared_between_all_kinds_of_trouble() {
    for (config, attempts) in [
        ("max_retries: 2", 2),
        ("max_retries: 0", 1),
        ("max_retries: 1", 1),
        ("timeout: 9", 3),
    ] {
        let workflow = int(&format!("config: {{execution: {{{config}}}}}\n"));
        let misfits = (0..9).map(|_| Answer::result("x")).collect();
        let (ran, models) = run(&workflow, misfits).await;
        assert_eq!(
            (ran.failure().code, models.calls().len()),
            (FailureCode::OutputInvalid, attempts)
        );
        let limited = (0..9)
            .map(|_| Answer::error(ErrorKind::RateLimit))
            .collect();
        let (ran, models) = run(&workflow, limited).await;
        assert_eq!(
            (ran.failure().code, models.calls().len()),
            (FailureCode::ModelError, attempts)
        );
    }
    let mixed = vec![
        Answer::result("x"),
        Answer::error(ErrorKind::Network),
        Answer::result("y"),
        Answer::result(5),
    ];
    let (ran, models) = run(&int(""), mixed).await;
    assert_eq!(models.calls().len(), 3);
    let failure = ran.failure();
    assert!(failure.message.starts_with(
        "Node `ask`: the answer does not fit the output schema after 3 attempts: result: "
    ));
    assert_eq!(
        (failure.source, failure.retryable),
        (FailureSource::Workflow, false)
    );
    // The call after the transport error still says what was wrong before it.
    assert!(models.calls()[2].prompt.contains("Your previous answer"));
}

#[tokio::test(start_paused = true)]
async fn only_what_can_help_is_tried_again() {
    use FailureSource::{Provider, Server, Workflow};
    let check = async |kind: ErrorKind, calls: usize, code: FailureCode, source: FailureSource| {
        let (ran, models) = run(&int(""), (0..9).map(|_| Answer::error(kind)).collect()).await;
        let failure = ran.failure();
        assert_eq!(
            (failure.code, failure.source, models.calls().len()),
            (code, source, calls),
            "{kind:?}"
        );
        assert_eq!(failure.retryable, calls > 1, "{kind:?}");
        let after = if calls > 1 { "after 3 attempts: " } else { "" };
        assert_eq!(
            failure.message,
            format!("Node `ask`: {after}the model said {kind:?}")
        );
    };
    check(ErrorKind::RateLimit, 3, FailureCode::ModelError, Provider).await;
    check(ErrorKind::Overloaded, 3, FailureCode::ModelError, Provider).await;
    check(ErrorKind::Network, 3, FailureCode::ModelError, Provider).await;
    check(ErrorKind::BadReply, 3, FailureCode::ModelError, Provider).await;
    check(ErrorKind::Timeout, 3, FailureCode::ModelTimeout, Provider).await;
    check(ErrorKind::Config, 1, FailureCode::ModelConfig, Server).await;
    check(ErrorKind::Auth, 1, FailureCode::ModelError, Server).await;
    check(
        ErrorKind::QuotaExhausted,
        1,
        FailureCode::ModelError,
        Server,
    )
    .await;
    check(ErrorKind::NoRecording, 1, FailureCode::ModelError, Server).await;
    check(
        ErrorKind::ContextTooLong,
        1,
        FailureCode::ModelError,
        Workflow,
    )
    .await;
    check(
        ErrorKind::ContentFilter,
        1,
        FailureCode::ModelError,
        Workflow,
    )
    .await;
    check(ErrorKind::BadRequest, 1, FailureCode::ModelError, Workflow).await;
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_never_undercut_what_the_provider_asked() {
    let answers = vec![
        Answer::error(ErrorKind::Overloaded),
        Answer::retry_after(ErrorKind::RateLimit, 20),
        Answer::result(5),
    ];
    let (ran, models) = run(&int(""), answers).await;
    let reason = |kind| format!("the model said {kind}.");
    assert_eq!(
        retries(&ran),
        [
            (1, reason("Overloaded"), 1_000),
            (2, reason("RateLimit"), 22_000)
        ]
    );
    assert_eq!(ran.finished.execution_time_ms, 23_000);
    assert!(models.calls().iter().all(|call| call.prompt == "How many?"));
    // A failed attempt counts as a call but has no price.
    assert_eq!(
        (ran.finished.usage.llm_calls, ran.finished.usage.cost_usd),
        (3, Some(0.5))
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_of_a_day_is_capped_and_told() {
    let day = || Answer::retry_after(ErrorKind::RateLimit, 86_400);
    let (ran, models) = run(&int(""), vec![day(), day(), Answer::result(5)]).await;
    assert_eq!(
        (ran.outputs()["out"].clone(), models.calls().len()),
        (5.into(), 3)
    );
    let retries = retries(&ran);
    for (_, reason, wait_ms) in &retries {
        assert!(
            reason.ends_with(
                "(it asks to wait 86400 s; the next attempt comes after 600 s, the longest wait allowed)"
            ),
            "{reason}"
        );
        assert!((600_000..=603_000).contains(wait_ms), "{wait_ms}");
    }
    assert_eq!(retries.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_given_up_at_the_nodes_time_limit() {
    let workflow = int("config: {execution: {timeout: 7, max_retries: 2}}\n");
    let hanging = || Answer::result(5).after(3_600_000);
    let (ran, models) = run(&workflow, vec![hanging(), Answer::result(6)]).await;
    assert_eq!(ran.outputs()["out"], 6);
    assert_eq!(ran.finished.execution_time_ms, 8_000);
    assert_eq!(models.aborted(), 1);

    let (ran, _) = run(&workflow, vec![hanging(), hanging()]).await;
    let message = "Node `ask`: after 2 attempts: fake/model did not answer within 7 s";
    ran.assert_failed(FailureCode::ModelTimeout, message);
    assert_eq!(ran.finished.execution_time_ms, 15_000);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_off_is_asked_for_once_more_at_most() {
    for (finish, config, why, cut_off) in [
        (
            FinishReason::Length,
            "config: {llm: {max_tokens: 9}}",
            "(it was cut off at the node's `max_tokens`)",
            CutOff::MaxTokens,
        ),
        (
            FinishReason::Length,
            "",
            "(it was cut off at the model's output limit)",
            CutOff::OutputLimit,
        ),
        (
            FinishReason::ContextWindow,
            "",
            "(it was cut off where the model's context window was full)",
            CutOff::ContextWindow,
        ),
    ] {
        let cut = || Answer::text("{\"result\": 1").finish(finish);
        let (ran, models) = run(&int(config), vec![cut(), cut(), Answer::result(5)]).await;
        let failure = ran.failure();
        assert_eq!(
            (failure.code, failure.cut_off),
            (FailureCode::OutputInvalid, Some(cut_off))
        );
        assert!(
            failure.message.contains("after 2 attempts") && failure.message.ends_with(why),
            "{}",
            failure.message
        );
        assert_eq!(models.calls().len(), 2);
        let (ran, _) = run(&int(config), vec![cut(), Answer::result(5)]).await;
        assert_eq!(ran.outputs(), json!({"out": 5}));
        // Other answers that do not fit are asked for again as often as allowed.
        let answers = vec![cut(), Answer::result("many"), Answer::result(5)];
        let (ran, _) = run(&int(config), answers).await;
        assert_eq!(ran.outputs(), json!({"out": 5}));
    }
}

#[tokio::test(start_paused = true)]
async fn the_model_is_told_why_its_answer_is_no_object() {
    for (text, why) in [
        ("", "the answer is empty"),
        (
            "{\"result\": NaN}",
            "a word that JSON does not have at line 1, column 12",
        ),
        (
            "{\"result\": 1",
            "it ends before it is complete at line 1, column 13",
        ),
    ] {
        let (ran, models) = run(&int(""), vec![Answer::text(text), Answer::result(5)]).await;
        assert_eq!(ran.outputs(), json!({"out": 5}));
        let retry = &models.calls()[1].prompt;
        assert!(retry.contains(why), "{retry}");
    }
}
