//! A deadline holds wherever the run is when it passes: in the queue, in a call, between two
//! attempts, in a fan-out, in a server that is not there.

use serde_json::{Value, json};
use testing::Reply;

use super::fixture::{Rig, Server, now, prompts};
use crate::http::{Events, until};

/// Long enough for a run to come to where its deadline is to find it.
const DEADLINE: &str = "4s";
const DEADLINE_NS: i64 = 4_000_000_000;

fn ok() -> Reply {
    Reply::json(json!({"result": "ok"}))
}

/// Submits run `n` with a deadline.
async fn submit(server: &Server, n: u64) -> String {
    server.submit_with(n, json!({"deadline": DEADLINE})).await
}

/// Waits for the end of a job, which must be its deadline.
async fn passed(server: &Server, id: &str) -> Value {
    let job = server.ended(id).await;
    assert_eq!(job["status"], json!("failed"), "{job}");
    assert_eq!(job["problem"]["code"], json!("deadline_exceeded"), "{job}");
    job
}

#[tokio::test]
async fn in_the_queue_nothing_of_the_run_begins() {
    let rig = Rig::new();
    rig.shut();
    let server = rig.serve("--max-running 1");
    server.submit(1).await;
    rig.model.called(1).await;
    let id = submit(&server, 2).await;
    let job = passed(&server, &id).await;
    assert_eq!(job["usage"]["llm_calls"], json!(0), "{job}");
    assert_eq!(rig.model.calls(), 1);
}

#[tokio::test]
async fn in_a_call_the_call_is_aborted() {
    let rig = Rig::new();
    rig.shut();
    let server = rig.serve("");
    let id = submit(&server, 1).await;
    passed(&server, &id).await;
    rig.model.disconnected(1).await;
    assert_eq!(rig.model.calls(), 1);
}

#[tokio::test]
async fn in_a_fan_out_its_calls_are_aborted_and_nothing_follows() {
    let rig = Rig::answering(|request| match request.prompt() {
        "part right of 1" => Reply::hang(),
        _ => ok(),
    });
    let server = rig.serve("");
    let id = submit(&server, 1).await;
    passed(&server, &id).await;
    rig.model.disconnected(1).await;
    let [plan, left, right, end] = prompts(1);
    let asked = rig.asked();
    for prompt in [plan, left, right] {
        assert_eq!(asked.get(&prompt), Some(&1), "{prompt}");
    }
    assert_eq!(asked.get(&end), None);
}

#[tokio::test]
async fn an_attempt_that_would_come_too_late_is_not_waited_for() {
    let rig = Rig::answering(|_| Reply::status(429).retry_after(20));
    let server = rig.serve("");
    let id = submit(&server, 1).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], json!("failed"), "{job}");
    let error = job["error"].as_str().expect("a sentence");
    assert!(
        error.contains("would come after the run's deadline"),
        "{error}"
    );
    assert_eq!(rig.model.calls(), 1);
}

#[tokio::test]
async fn between_two_attempts_the_next_one_is_not_made() {
    let rig = Rig::answering(|_| Reply::status(429).retry_after(1));
    let server = rig.serve("");
    let id = submit(&server, 1).await;
    let submitted = now();
    let mut events = Events::of(&server.url, &id, 0).await;
    loop {
        let event = events.next().await.expect("the run goes on");
        if event["event"] == json!("node_retried") {
            break;
        }
    }
    // While it waits, the server is paused for longer than the run may take.
    server.process.signal("STOP");
    until(|| now() > submitted + DEADLINE_NS).await;
    let calls = rig.model.calls();
    server.process.signal("CONT");
    passed(&server, &id).await;
    assert_eq!(rig.model.calls(), calls, "no attempt after the deadline");
}

#[tokio::test]
async fn while_no_server_is_there_the_run_does_not_go_on_with_the_next() {
    let rig = Rig::new();
    rig.shut();
    let server = rig.serve("");
    let id = submit(&server, 1).await;
    let submitted = now();
    rig.model.called(1).await;
    server.kill();
    until(|| now() > submitted + DEADLINE_NS).await;
    rig.open();
    let server = rig.serve("");
    passed(&server, &id).await;
    assert_eq!(rig.model.calls(), 1);
}
