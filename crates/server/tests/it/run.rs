//! `POST /run`: what a client gets, and when.

use std::time::Duration;

use llm::error::ErrorKind;
use serde_json::{Value, json};

use crate::client::Call;
use crate::models::Part;
use crate::server::Server;

const BODY: &str = r#"{"message": "hi"}"#;

fn run() -> Call {
    Call::post("/run", BODY)
}

#[tokio::test]
async fn a_run_that_ends_in_time_is_answered_with_its_result() {
    let server = Server::start(Part::Echo);
    let answer = server.send(run()).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "status",
            "execution_time_ms",
            "outputs",
            "job_id",
            "message",
            "usage"
        ]
    );
    assert_eq!(body["status"], "success");
    assert!(body["execution_time_ms"].is_u64());
    assert_eq!(
        body["outputs"],
        json!({ "message": "hi", "result": "R:Say hi" })
    );
    assert_eq!(body["message"], Value::Null);
    assert_eq!(body["usage"]["input_tokens"], 3);
    assert_eq!(server.model.calls(), 1);

    let job = server.get(&format!("/status/{}", answer.job_id())).await;
    assert_eq!(
        (job.status, job.json()["status"].clone()),
        (200, json!("completed"))
    );
}

#[tokio::test]
async fn a_slow_run_is_answered_with_a_handle_on_the_same_run() {
    let settings = server::Settings {
        sync_timeout: Duration::from_millis(20),
        ..server::Settings::default()
    };
    let server = Server::with(
        Part::Gated,
        &[crate::server::ECHO],
        settings,
        service::Settings::default(),
    );
    let answer = server.send(run()).await;
    assert_eq!(answer.status, 202);
    let body = answer.json();
    assert_eq!(
        (
            &body["status"],
            &body["outputs"],
            &body["execution_time_ms"]
        ),
        (&json!("async"), &Value::Null, &Value::Null)
    );
    assert!(body["message"].is_string());
    let location = format!("/status/{}", answer.job_id());
    assert_eq!(answer.header("location"), Some(&*location));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("preference-applied"), None);

    server.until_asked(1).await;
    server.model.let_go(1);
    let job = server
        .send(Call::get(location).header("Prefer", "wait=10"))
        .await
        .json();
    assert_eq!(
        (&job["status"], &job["outputs"]["result"]),
        (&json!("completed"), &json!("R:Say hi"))
    );
    assert_eq!(server.model.calls(), 1);
}

#[tokio::test]
async fn preferences_are_heeded_and_echoed() {
    let server = Server::start(Part::Gated);
    for prefer in ["respond-async", "wait=0"] {
        let answer = server.send(run().header("Prefer", prefer)).await;
        assert_eq!(
            (answer.status, answer.header("preference-applied")),
            (202, Some(prefer))
        );
    }
    server.model.let_go(3);
    let answer = server.send(run().header("Prefer", "wait=10")).await;
    assert_eq!(
        (answer.status, answer.header("preference-applied")),
        (200, Some("wait=10"))
    );
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_stop_its_run() {
    let server = Server::start(Part::Gated);
    let connection = run().abandon(server.address).await;
    server.until_asked(1).await;
    drop(connection);
    server.model.let_go(1);

    let id = server.get("/jobs").await.json()["jobs"][0]["job_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let job = server
        .send(Call::get(format!("/status/{id}")).header("Prefer", "wait=10"))
        .await
        .json();
    assert_eq!(job["status"], "completed");
}

#[tokio::test]
async fn a_deadline_ends_the_run() {
    let server = Server::start(Part::Gated);
    let answer = server.send(run().header("Cancel-After", "20ms")).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (500, &json!("deadline_exceeded"))
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
}

#[tokio::test]
async fn a_repeated_key_gets_the_same_run() {
    let server = Server::start(Part::Echo);
    let first = server.send(run().header("Idempotency-Key", "k")).await;
    let again = server.send(run().header("Idempotency-Key", "\"k\"")).await;
    assert_eq!(
        (
            first.header("idempotency-replayed"),
            again.header("idempotency-replayed")
        ),
        (None, Some("true"))
    );
    assert_eq!(again.json(), first.json());
    assert_eq!(server.model.calls(), 1);

    let other = server
        .send(Call::post("/run", r#"{"message": "ho"}"#).header("Idempotency-Key", "k"))
        .await;
    assert_eq!(
        (other.status, &other.json()["code"]),
        (422, &json!("idempotency_key_reused"))
    );
}

#[tokio::test]
async fn a_keyed_run_that_failed_for_a_passing_reason_says_how_to_go_on() {
    let server = Server::start(Part::Fail(ErrorKind::Overloaded));
    let unkeyed = server.send(run()).await;
    assert_eq!(
        (unkeyed.status, &unkeyed.json()["retryable"]),
        (502, &json!(true))
    );
    let calls = server.model.calls();
    let keyed = run().header("Idempotency-Key", "k");
    let first = server.send(keyed).await;
    let paid = server.model.calls();
    assert!(paid > calls);
    let again = server.send(run().header("Idempotency-Key", "k")).await;
    assert_eq!(again.json(), first.json());
    assert_eq!(server.model.calls(), paid);
    let problem = again.json();
    // The same key will never get another answer.
    assert_eq!(problem["retryable"], json!(false));
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("/retry") && detail.contains("new key"),
        "{detail}"
    );

    let events = run()
        .header("Idempotency-Key", "k")
        .header("Accept", "text/event-stream");
    let events = server.send(events).await.body;
    let result = events.rsplit("data: ").next().unwrap();
    assert!(result.contains("new key"), "{events}");
    let job = r#"{"inputs": {"message": "hi"}}"#;
    let asynchronous = Call::post("/jobs", job).header("Idempotency-Key", "k");
    let handle = server.send(asynchronous).await.json();
    assert_eq!(handle["job_id"], problem["job_id"]);
    let message = handle["message"].as_str().unwrap();
    assert!(
        message.contains("ended as failed") && message.contains("/retry"),
        "{message}"
    );
}

#[tokio::test]
async fn a_key_whose_job_was_deleted_pays_for_nothing_again() {
    let server = Server::start(Part::Echo);
    let first = server.send(run().header("Idempotency-Key", "k")).await;
    let id = first.job_id();
    let deleted = server
        .send(Call::new("DELETE", format!("/jobs/{id}")))
        .await;
    assert_eq!(deleted.status, 204);
    let job = r#"{"inputs": {"message": "hi"}}"#;
    for call in [run(), Call::post("/jobs", job)] {
        let gone = server.send(call.header("Idempotency-Key", "k")).await;
        let problem = gone.json();
        assert_eq!(
            (gone.status, &problem["code"], &problem["job_id"]),
            (410, &json!("job_forgotten"), &json!(id))
        );
        assert_eq!(problem["retryable"], json!(false));
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("completed") && detail.contains("new key"),
            "{detail}"
        );
    }
    let other = Call::post("/run", r#"{"message": "ho"}"#).header("Idempotency-Key", "k");
    assert_eq!(server.send(other).await.status, 422);
    assert_eq!(server.model.calls(), 1);
}

#[tokio::test]
async fn a_repeated_key_attaches_to_the_run_in_flight() {
    let server = Server::start(Part::Gated);
    let first = server
        .send(
            run()
                .header("Idempotency-Key", "k")
                .header("Prefer", "respond-async"),
        )
        .await;
    let again = server
        .send(
            run()
                .header("Idempotency-Key", "k")
                .header("Prefer", "respond-async"),
        )
        .await;
    assert_eq!((again.status, again.job_id()), (202, first.job_id()));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    server.until_asked(1).await;
    server.model.let_go(1);
    let third = server.send(run().header("Idempotency-Key", "k")).await;
    assert_eq!((third.status, third.job_id()), (200, first.job_id()));
    assert_eq!(server.model.calls(), 1);
}

#[tokio::test]
async fn faulty_steering_headers_are_all_named() {
    let server = Server::start(Part::Echo);
    let answer = server
        .send(
            run()
                .header("Cancel-After", "soon")
                .header("Idempotency-Key", " "),
        )
        .await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.json()["detail"][0]["loc"],
        json!(["header", "cancel-after"])
    );
    assert_eq!(
        answer.json()["detail"][1]["loc"],
        json!(["header", "idempotency-key"])
    );
    assert_eq!(server.model.calls(), 0);
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let server = Server::start(Part::Echo);
    let first = run().begin(server.address).await;
    assert_eq!(first.status, 200);
    let second = first.again(&run()).await;
    assert_eq!(second.finish().await.json()["status"], "success");
}
