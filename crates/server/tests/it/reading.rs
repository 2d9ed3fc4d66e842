//! What counts as reading a job's end where no ended job is to be kept: the answer that holds it, and
//! nothing that only looks at it.

use std::time::Duration;

use crate::client::Call;
use crate::models::Part;
use crate::server::{ECHO, Server};

/// A server that keeps no job that was read.
fn forgetful() -> Server {
    let limits = service::Settings {
        retention: Duration::ZERO,
        ..service::Settings::default()
    };
    Server::with(Part::Echo, &[ECHO], server::Settings::default(), limits)
}

/// A job that has ended and that nobody has read.
async fn ended(server: &Server) -> String {
    let id = server
        .post("/jobs", r#"{"inputs": {"message": "hi"}}"#)
        .await
        .job_id();
    until(async || {
        let page = server.get("/jobs").await.json();
        page["jobs"][0]["status"] == "completed"
    })
    .await;
    id
}

async fn until(is_so: impl AsyncFn() -> bool) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it comes about");
}

async fn is_forgotten(server: &Server) -> bool {
    let page = server.get("/jobs").await.json();
    page["jobs"].as_array().is_some_and(Vec::is_empty)
}

#[tokio::test]
async fn the_only_copy_of_a_result_survives_a_head_request() {
    let server = forgetful();
    let path = format!("/status/{}", ended(&server).await);
    for _ in 0..3 {
        assert_eq!(server.send(Call::new("HEAD", &path)).await.status, 200);
    }
    assert_eq!(
        server.get(&path).await.json()["outputs"]["result"],
        "R:Say hi"
    );
    until(async || is_forgotten(&server).await).await;
    assert_eq!(server.get(&path).await.status, 404);
}

#[tokio::test]
async fn the_only_copy_of_a_result_survives_a_304() {
    let server = forgetful();
    let path = format!("/jobs/{}", ended(&server).await);
    let head = server.send(Call::new("HEAD", &path)).await;
    let tag = head.header("etag").expect("it has one").to_owned();
    for _ in 0..3 {
        let call = Call::get(&path).header("If-None-Match", &tag);
        assert_eq!(server.send(call).await.status, 304);
    }
    assert_eq!(
        server.get(&path).await.json()["outputs"]["result"],
        "R:Say hi"
    );
}

#[tokio::test]
async fn the_only_copy_of_a_result_survives_event_streams() {
    let server = forgetful();
    let id = ended(&server).await;
    for _ in 0..3 {
        let events = server.get(&format!("/jobs/{id}/events")).await;
        assert!(events.body.contains("run_completed"), "{}", events.body);
    }
    let path = format!("/status/{id}");
    assert_eq!(
        server.get(&path).await.json()["outputs"]["result"],
        "R:Say hi"
    );

    let server = forgetful();
    let call = Call::post("/run", r#"{"message": "hi"}"#).header("Accept", "text/event-stream");
    let stream = server.send(call).await;
    assert!(stream.body.contains("event: result"), "{}", stream.body);
    let path = stream.header("location").expect("it has one").to_owned();
    assert_eq!(
        server.get(&path).await.json()["outputs"]["result"],
        "R:Say hi"
    );
}

#[tokio::test]
async fn an_answer_that_was_waited_for_uses_the_result_up() {
    let server = forgetful();
    let answer = server.post("/run", r#"{"message": "hi"}"#).await;
    assert_eq!(answer.json()["outputs"]["result"], "R:Say hi");
    until(async || is_forgotten(&server).await).await;
}
