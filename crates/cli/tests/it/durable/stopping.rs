//! Being told to stop: the server by a signal, a run by its owner.

use std::time::{Duration, Instant};

use jobs::job::Status;
use jobs::sqlite::{Options, SqliteStore};
use jobs::store::JobStore as _;
use serde_json::{Value, json};

use super::fixture::{Rig, prompts};
use crate::http::post;

#[tokio::test]
async fn a_server_that_is_stopped_under_load_loses_nothing_and_spends_no_attempts() {
    let rig = Rig::new();
    rig.shut();
    let mut server = rig.serve("--max-running 10 --drain-timeout 100ms");
    let ids = server.submit_all(0..40).await;
    rig.model.called(10).await;
    server.process.signal("TERM");
    server
        .process
        .line_with("10 runs did not finish in time and will continue at the next start");
    assert_eq!(server.process.end().0, Some(0));
    rig.is_sound();
    {
        let store = SqliteStore::open(&rig.file(), &Options::default()).expect("nobody has it");
        for id in &ids {
            let id = id.parse().expect("an id");
            let job = store
                .get(id)
                .await
                .expect("it answers")
                .expect("it is there");
            assert_eq!((job.status, job.attempts), (Status::Pending, 0), "{id}");
        }
    }

    rig.open();
    let server = rig.serve("");
    server.all_complete(&ids).await;
    let asked = rig.asked();
    for n in 0..40 {
        let [plan, rest @ ..] = prompts(n);
        assert!(asked[&plan] <= 2, "`{plan}` {}", asked[&plan]);
        for prompt in rest {
            assert_eq!(asked[&prompt], 1, "`{prompt}`");
        }
    }
    assert_eq!(rig.model.calls(), 40 * 4 + 10, "those in flight, once more");
}

#[tokio::test]
async fn cancel_aborts_the_models_request_within_a_second() {
    let rig = Rig::new();
    rig.shut();
    let server = rig.serve("");
    let id = server.submit(1).await;
    rig.model.called(1).await;
    let begun = Instant::now();
    let (status, _) = post(format!("{}/jobs/{id}/cancel", server.url), json!({})).await;
    assert_eq!(status, 202);
    rig.model.disconnected(1).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(server.ended(&id).await["status"], json!("cancelled"));
    assert_eq!(rig.model.calls(), 1);
}

#[tokio::test]
async fn cancelled_while_they_wait_none_starts() {
    let rig = Rig::new();
    rig.shut();
    let server = rig.serve("--max-running 1");
    let ids = server.submit_all(0..50).await;
    rig.model.called(1).await;
    // The one that runs comes last: the others must be gone when its slot is free.
    let mut in_order = Vec::new();
    for id in &ids {
        match server.job(id).await["status"].as_str() {
            Some("pending") => in_order.insert(0, id),
            _ => in_order.push(id),
        }
    }
    for id in in_order {
        post(format!("{}/jobs/{id}/cancel", server.url), json!({})).await;
    }
    for id in &ids {
        assert_eq!(server.ended(id).await["status"], json!("cancelled"));
    }
    assert_eq!(rig.model.calls(), 1);
}

#[tokio::test]
async fn whoever_waits_when_the_server_stops_gets_an_answer_and_not_nothing() {
    let rig = Rig::new();
    rig.shut();
    let server = rig.serve("--drain-timeout 100ms");
    let client = server.client.clone();
    let run = |accept: &'static str, n: u64| {
        let request = client
            .post(format!("{}/run", server.url))
            .header("accept", accept)
            .json(&json!({ "n": n }));
        tokio::spawn(async move { request.send().await.expect("an answer") })
    };
    let waiting = run("application/json", 1);
    rig.model.called(1).await;
    let streaming = run("text/event-stream", 2).await.expect("it is streamed");
    rig.model.called(1).await;
    let job = streaming.headers()["location"].clone();
    let job = job.to_str().expect("a path").replace("/status/", "");
    let watching = client.get(format!("{}/jobs/{job}/events", server.url));
    let watching = watching.send().await.expect("a stream");
    let polling = client
        .get(format!("{}/jobs/{job}", server.url))
        .header("prefer", "wait=60");
    let polling = tokio::spawn(async move { polling.send().await.expect("an answer") });

    server.process.signal("TERM");
    let told = waiting.await.expect("it is told");
    assert_eq!(told.status(), 202);
    assert_eq!(told.headers()["connection"], "close");
    let handle = told.headers()["location"].clone();
    let told: Value = told.json().await.expect("the whole answer");
    assert_eq!(
        handle,
        format!("/status/{}", told["job_id"].as_str().expect("an id"))
    );
    for stream in [streaming, watching] {
        let text = stream.text().await.expect("the whole stream");
        let last = text.trim_end().rsplit("\n\n").next().expect("an event");
        assert!(last.contains("event: server_stopping"), "{text}");
        assert!(last.contains(&job) && last.contains("retry: "), "{last}");
    }
    let polled = polling.await.expect("it is told");
    assert_eq!(polled.status(), 200);
    let ended = server.process.ended().exits(0);
    assert!(
        !ended.stderr.contains("connections were cut"),
        "{}",
        ended.stderr
    );

    rig.open();
    let server = rig.serve("");
    let ids = [told["job_id"].as_str().expect("an id").to_owned(), job];
    server.all_complete(&ids).await;
}

#[tokio::test]
async fn a_hang_up_does_not_end_the_server() {
    let rig = Rig::new();
    let mut server = rig.serve("");
    server.process.signal("HUP");
    server.process.line_with("SIGHUP has no effect");
    let id = server.submit(1).await;
    server.all_complete(&[id]).await;
    server.process.signal("TERM");
    assert_eq!(server.process.end().0, Some(0));
}

#[tokio::test]
async fn a_server_with_a_drain_delay_is_not_ready_first_and_takes_requests_meanwhile() {
    let rig = Rig::new();
    let mut server = rig.serve("--drain-delay 1h");
    assert_eq!(server.readiness().await.0, 200);
    server.process.signal("TERM");
    server.process.line_with("not ready for new requests");
    let (status, problem) = server.readiness().await;
    assert_eq!((status, &problem["code"]), (503, &json!("draining")));
    let id = server.submit(1).await;
    server.all_complete(&[id]).await;
    server.process.signal("TERM");
    assert_eq!(
        server.process.end().0,
        Some(130),
        "the second ends it at once"
    );
}
