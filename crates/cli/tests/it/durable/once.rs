//! One request, one execution, however often it is sent.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testing::Reply;

use super::fixture::{Rig, Server, prompts};
use crate::http::post;

/// `POST /run` with a key.
async fn run(server: &Server, key: &str, body: Value) -> reqwest::Result<(u16, Value)> {
    let response = server
        .client
        .post(format!("{}/run", server.url))
        .header("idempotency-key", key)
        .json(&body)
        .send()
        .await?;
    let status = response.status().as_u16();
    Ok((status, response.json().await?))
}

#[tokio::test]
async fn a_slow_run_asks_the_model_once_for_each_call() {
    let rig =
        Rig::answering(|_| Reply::json(json!({"result": "ok"})).after(Duration::from_millis(40)));
    let server = rig.serve("--sync-timeout 20ms");
    let (status, handle) = post(format!("{}/run", server.url), json!({"n": 1})).await;
    assert_eq!(status, 202);
    let id = handle["job_id"].as_str().expect("an id");
    assert_eq!(server.ended(id).await["status"], json!("completed"));
    for prompt in prompts(1) {
        assert_eq!(rig.asked().get(&prompt), Some(&1), "{prompt}");
    }
    assert_eq!(rig.model.calls(), 4);
    assert_eq!(server.count_jobs().await, 1);
}

#[tokio::test]
async fn a_hundred_requests_with_one_key_are_one_job() {
    let rig =
        Rig::answering(|_| Reply::json(json!({"result": "ok"})).after(Duration::from_millis(20)));
    let server = rig.serve("");
    let answers = join_all((0..100).map(|_| run(&server, "k", json!({"n": 1})))).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("an answer"))
        .collect();
    assert_eq!(answers[0].0, 200, "{}", answers[0].1);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!((rig.model.calls(), server.count_jobs().await), (4, 1));

    let (status, problem) = run(&server, "k", json!({"n": 2})).await.expect("an answer");
    assert_eq!(status, 422, "{problem}");
    assert_eq!((rig.model.calls(), server.count_jobs().await), (4, 1));
}

#[tokio::test]
async fn a_request_repeated_after_a_crash_finds_its_run() {
    let rig = Rig::new();
    rig.shut();
    let server = rig.serve("");
    let url = server.url.clone();
    let first = {
        let client = server.client.clone();
        tokio::spawn(async move {
            client
                .post(format!("{url}/run"))
                .header("idempotency-key", "k")
                .json(&json!({"n": 1}))
                .send()
                .await
        })
    };
    // Committed, and not answered.
    rig.model.called(1).await;
    server.kill();
    assert!(first.await.expect("no panic").is_err(), "it got no answer");

    rig.open();
    let server = rig.serve("");
    let (status, answer) = run(&server, "k", json!({"n": 1})).await.expect("an answer");
    assert_eq!((status, &answer["outputs"]["end"]), (200, &json!("ok")));
    assert_eq!(server.count_jobs().await, 1);
    let mut calls = [1; 4];
    calls[0] = 2;
    for (prompt, calls) in prompts(1).iter().zip(calls) {
        assert_eq!(rig.asked().get(prompt), Some(&calls), "{prompt}");
    }
}
