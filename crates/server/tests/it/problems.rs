//! Everything that is refused or fails, as clients see it.

use llm::error::ErrorKind;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Answer, Call, Opened};
use crate::models::Part;
use crate::server::{ECHO, Server};

/// The members every problem has.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str, source: &str) {
    let problem = answer.json();
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{problem}"
    );
    assert_eq!(
        (answer.status, &problem["status"]),
        (status, &json!(status)),
        "{problem}"
    );
    assert_eq!(
        (&problem["code"], &problem["error_source"]),
        (&json!(code), &json!(source)),
        "{problem}"
    );
    for member in ["type", "title", "detail", "instance"] {
        assert!(
            problem[member]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{member}: {problem}"
        );
    }
    assert!(problem["retryable"].is_boolean(), "{problem}");
}

#[tokio::test]
async fn a_failed_run_is_a_problem_with_its_job() {
    for (kind, status, code, source) in [
        (ErrorKind::Overloaded, 502, "model_error", "provider"),
        (ErrorKind::Timeout, 504, "model_timeout", "provider"),
        (ErrorKind::Auth, 500, "model_error", "server"),
    ] {
        let server = Server::start(Part::Fail(kind));
        let answer = server.post("/run", r#"{"message": "hi"}"#).await;
        assert_problem(&answer, status, code, source);
        let id = answer.job_id();
        assert_eq!(answer.json()["instance"], format!("/status/{id}"));
        let job = server.get(&format!("/status/{id}")).await.json();
        assert_eq!(
            (&job["status"], &job["problem"]),
            (&json!("failed"), &answer.json())
        );
        assert_eq!(job["error"], answer.json()["detail"]);
    }
}

#[tokio::test]
async fn a_bug_below_is_an_internal_problem() {
    let server = Server::start(Part::Panic);
    let answer = server.post("/run", r#"{"message": "hi"}"#).await;
    assert_problem(&answer, 500, "internal", "server");
    assert!(!answer.body.contains("has a bug"), "{}", answer.body);
}

#[tokio::test]
async fn a_model_that_is_not_set_up_is_told_before_acceptance() {
    let server = Server::start(Part::Missing);
    let answer = server.post("/run", r#"{"message": "hi"}"#).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (500, &json!("model_config"))
    );
    assert_eq!(answer.json().get("job_id"), None);
    assert_eq!(server.get("/jobs").await.json()["jobs"], json!([]));
}

#[tokio::test]
async fn faults_come_as_a_problem_to_those_who_ask_for_one() {
    let server = Server::start(Part::Echo);
    let plain = server.post("/run", "{}").await;
    assert_eq!(plain.header("content-type"), Some("application/json"));
    let fault = json!({ "type": "missing", "loc": ["body", "message"], "msg": "Field required", "input": {} });
    assert_eq!(plain.json(), json!({ "detail": [fault] }));

    let accept = |call: Call| call.header("Accept", "application/problem+json");
    let answer = server.send(accept(Call::post("/run", "{}"))).await;
    assert_problem(&answer, 422, "invalid_request", "request");
    assert_eq!(answer.json()["errors"], json!([fault]));
    assert_problem(
        &server.send(accept(Call::get("/nothing"))).await,
        404,
        "not_found",
        "request",
    );
    let answer = server.send(accept(Call::get("/run"))).await;
    assert_problem(&answer, 405, "method_not_allowed", "request");
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn inputs_in_an_envelope_are_told_that_the_body_is_the_inputs() {
    let server = Server::start(Part::Echo);
    let message = "Field required: the body is the inputs themselves, without `inputs` around them";
    let wrapped = r#"{"inputs": {"message": "hi"}}"#;
    let answer = server.post("/run", wrapped).await;
    assert_eq!(answer.status, 422);
    let fault = &answer.json()["detail"][0];
    assert_eq!(
        (&fault["type"], &fault["loc"], &fault["msg"]),
        (
            &json!("missing"),
            &json!(["body", "message"]),
            &json!(message)
        )
    );
    let call = Call::post("/run", wrapped).header("Accept", "application/problem+json");
    let problem = server.send(call).await.json();
    assert_eq!(
        problem["detail"],
        json!(format!("body.message: {message}."))
    );
    // An envelope without the input is missing it like any other body.
    let answer = server.post("/run", r#"{"inputs": {"text": "hi"}}"#).await;
    assert_eq!(answer.json()["detail"][0]["msg"], json!("Field required"));
    // And the other way round.
    let answer = server.post("/jobs", r#"{"message": "hi"}"#).await;
    assert_eq!(
        answer.json()["detail"][0]["msg"],
        json!("Field required: the inputs stand under `inputs`")
    );
}

#[tokio::test]
async fn a_full_queue_is_told_before_acceptance() {
    let limits = service::Settings {
        max_running: 1,
        max_queued: Some(1),
        ..service::Settings::default()
    };
    let server = Server::with(Part::Gated, &[ECHO], server::Settings::default(), limits);
    server.start_job().await;
    let body = r#"{"inputs": {"message": "hi"}}"#;
    assert_eq!(server.post("/jobs", body).await.status, 202);
    let answer = server.post("/jobs", body).await;
    assert_problem(&answer, 503, "queue_full", "server");
    assert_eq!(
        (answer.header("retry-after"), &answer.json()["retryable"]),
        (Some("5"), &json!(true))
    );
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = Server::start(Part::Echo);
    let answer = server.get("/health").await;
    assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
    let given = server
        .send(
            Call::post("/jobs", "{}")
                .header("X-Request-Id", "mine-1")
                .header("Accept", "application/problem+json"),
        )
        .await;
    assert_eq!(given.header("x-request-id"), Some("mine-1"));
    assert_eq!(given.json()["instance"], "/jobs#mine-1");
}

fn small_bodies() -> server::Settings {
    server::Settings {
        max_body_bytes: 1_000,
        ..server::Settings::default()
    }
}

#[tokio::test]
async fn a_body_may_be_as_large_as_the_limit() {
    let server = Server::with(
        Part::Echo,
        &[ECHO],
        small_bodies(),
        service::Settings::default(),
    );
    let body = |length: usize| format!(r#"{{"message": "{}"}}"#, "x".repeat(length - 15));
    assert_eq!(server.post("/run", &body(1_000)).await.status, 200);
    let answer = server.post("/run", &body(1_001)).await;
    assert_problem(&answer, 413, "body_too_large", "request");
    assert_eq!(answer.header("connection"), Some("close"));
}

/// What a simple client does: send everything, then read.
#[tokio::test]
async fn a_client_that_is_still_sending_can_read_the_413() {
    let server = Server::with(
        Part::Echo,
        &[ECHO],
        small_bodies(),
        service::Settings::default(),
    );
    for head in ["Content-Length: 8000000", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let chunked = head.contains("chunked");
        stream
            .write_all(format!("POST /run HTTP/1.1\r\nHost: test\r\n{head}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        for _ in 0..800 {
            if chunked {
                stream.write_all(b"2710\r\n").await.unwrap();
            }
            stream.write_all(&[b'x'; 10_000]).await.unwrap();
            if chunked {
                stream.write_all(b"\r\n").await.unwrap();
            }
        }
        if chunked {
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
        let answer = Opened::read(stream, false).await.finish().await;
        assert_problem(&answer, 413, "body_too_large", "request");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_no_before_it_sends() {
    let server = Server::with(
        Part::Echo,
        &[ECHO],
        small_bodies(),
        service::Settings::default(),
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head =
        "POST /run HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(Opened::read(stream, false).await.status, 413);
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let settings = server::Settings {
        body_timeout: std::time::Duration::from_millis(20),
        ..server::Settings::default()
    };
    let server = Server::with(Part::Echo, &[ECHO], settings, service::Settings::default());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"POST /run HTTP/1.1\r\nHost: test\r\nContent-Length: 50\r\n\r\n{")
        .await
        .unwrap();
    let answer = Opened::read(stream, false).await.finish().await;
    assert_problem(&answer, 408, "body_timeout", "request");
}

#[tokio::test]
async fn what_does_not_exist_says_so_as_the_original_did() {
    let server = Server::start(Part::Echo);
    let check = async |call: Call, status: u16, detail: &str| {
        let answer = call.send(server.address).await;
        assert_eq!(
            (answer.status, answer.json()),
            (status, json!({ "detail": detail }))
        );
        answer.header("allow").map(str::to_owned)
    };
    assert_eq!(check(Call::get("/nothing"), 404, "Not Found").await, None);
    assert_eq!(
        check(Call::get("/ui/nothing"), 404, "Not Found").await,
        None
    );
    assert_eq!(
        check(
            Call::get("/workflows/nothing/schema"),
            404,
            "Workflow not found"
        )
        .await,
        None
    );
    assert_eq!(
        check(Call::post("/execute", "{}"), 404, "Not Found").await,
        None
    );
    assert_eq!(
        check(Call::get("/run"), 405, "Method Not Allowed")
            .await
            .as_deref(),
        Some("POST")
    );
    let allow = check(Call::new("PUT", "/jobs"), 405, "Method Not Allowed")
        .await
        .unwrap();
    let mut methods: Vec<&str> = allow.split(',').collect();
    methods.sort_unstable();
    assert_eq!(methods, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn a_slash_too_many_leads_to_the_path_without() {
    let server = Server::start(Part::Echo);
    for (path, location) in [
        ("/run/", "/run"),
        ("/jobs/?limit=2", "/jobs?limit=2"),
        ("/workflows/echo/run/", "/workflows/echo/run"),
    ] {
        let answer = server.post(path, "{}").await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (307, Some(location)),
            "{path}"
        );
    }
    let answer: Value = server.get("/nothing/").await.json();
    assert_eq!(answer, json!({ "detail": "Not Found" }));
}
