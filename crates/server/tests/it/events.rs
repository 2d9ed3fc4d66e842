//! Server-sent events.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Answer, Call};
use crate::models::Part;
use crate::server::{ECHO, Server};

#[derive(Debug, Clone, PartialEq)]
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
}

/// The events of a stream, comments left out.
fn events(answer: &Answer) -> Vec<Event> {
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    answer.body.split("\n\n").filter_map(event).collect()
}

fn event(block: &str) -> Option<Event> {
    let field = |wanted: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(wanted))
            .map(str::trim)
    };
    Some(Event {
        id: field("id:").map(|id| id.parse().unwrap()),
        name: field("event:")?.to_owned(),
        data: serde_json::from_str(field("data:").unwrap()).unwrap(),
    })
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| &*event.name).collect()
}

fn run_as_events() -> Call {
    Call::post("/run", r#"{"message": "hi"}"#).header("Accept", "text/event-stream")
}

#[tokio::test]
async fn a_run_is_streamed_and_ends_with_its_result() {
    let server = Server::start(Part::Echo);
    let answer = server.send(run_as_events()).await;
    assert_eq!(answer.status, 200);
    let events = events(&answer);
    assert_eq!(
        names(&events),
        [
            "run_started",
            "node_started",
            "llm_delta",
            "node_completed",
            "run_completed",
            "result"
        ]
    );
    let result = &events[5].data;
    assert_eq!(
        answer.header("location"),
        Some(&*format!("/status/{}", result["job_id"].as_str().unwrap()))
    );
    assert_eq!(
        (&result["status"], &result["outputs"]["result"]),
        (&json!("success"), &json!("R:Say hi"))
    );
    assert_eq!(server.model.calls(), 1);
}

#[tokio::test]
async fn a_failed_run_ends_its_stream_with_the_problem() {
    let server = Server::start(Part::Fail(llm::error::ErrorKind::Network));
    let events = events(&server.send(run_as_events()).await);
    assert_eq!(names(&events[events.len() - 2..]), ["run_failed", "result"]);
    let result = &events.last().unwrap().data;
    assert_eq!(
        (&result["status"], &result["error_source"]),
        (&json!(502), &json!("provider"))
    );
}

#[tokio::test]
async fn faulty_inputs_are_refused_before_any_event() {
    let server = Server::start(Part::Echo);
    let answer = server
        .send(Call::post("/run", "{}").header("Accept", "text/event-stream"))
        .await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (422, Some("application/json"))
    );
}

#[tokio::test]
async fn an_ended_job_is_replayed_from_every_position() {
    let server = Server::start(Part::Echo);
    let id = server.post("/run", r#"{"message": "hi"}"#).await.job_id();
    let path = format!("/jobs/{id}/events");
    let all = events(&server.get(&path).await);
    assert_eq!(
        names(&all),
        [
            "run_started",
            "node_started",
            "node_completed",
            "run_completed"
        ]
    );
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id));
    for (position, event) in all.iter().enumerate() {
        let last = event.id.unwrap().to_string();
        let rest = events(
            &server
                .send(Call::get(&path).header("Last-Event-ID", &last))
                .await,
        );
        assert_eq!(rest, all[position + 1..], "after {last}");
    }
}

#[tokio::test]
async fn a_job_is_watched_from_its_past_into_its_future() {
    let server = Server::start(Part::Gated);
    let id = server.start_job().await;
    let mut stream = Call::get(format!("/jobs/{id}/events"))
        .begin(server.address)
        .await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(
            stream
                .chunk()
                .await
                .unwrap()
                .split("\n\n")
                .filter_map(event),
        );
    }
    server.model.let_go(1);
    while let Some(chunk) = stream.chunk().await {
        seen.extend(chunk.split("\n\n").filter_map(event));
    }
    assert_eq!(
        names(&seen),
        [
            "run_started",
            "node_started",
            "node_completed",
            "run_completed"
        ]
    );
    assert_eq!(
        seen.iter().map(|event| event.id).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(3), Some(4)]
    );
}

#[tokio::test]
async fn a_quiet_stream_carries_comments() {
    let settings = server::Settings {
        comment_every: Duration::from_millis(10),
        ..server::Settings::default()
    };
    let server = Server::with(Part::Gated, &[ECHO], settings, service::Settings::default());
    let id = server.start_job().await;
    let mut stream = Call::get(format!("/jobs/{id}/events"))
        .begin(server.address)
        .await;
    let mut comments = 0;
    while comments < 3 {
        comments += stream
            .chunk()
            .await
            .unwrap()
            .lines()
            .filter(|line| line.starts_with(':'))
            .count();
    }
}

#[tokio::test]
async fn what_names_no_job_or_event_is_refused() {
    let server = Server::start(Part::Echo);
    assert_eq!(server.get("/jobs/nothing/events").await.status, 404);
    let id = server.post("/run", r#"{"message": "hi"}"#).await.job_id();
    let answer = server
        .send(Call::get(format!("/jobs/{id}/events")).header("Last-Event-ID", "x"))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["detail"][0]["loc"]),
        (422, &json!(["header", "last-event-id"]))
    );
}
