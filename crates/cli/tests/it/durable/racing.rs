//! Cancelling a run at the moment in which it completes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::fixture::{Rig, Server};

const LANES: u64 = 16;
const ROUNDS: u64 = 25;

/// One run, and its cancel after that time; how they ended.
async fn race(server: &Server, n: u64, head_start: Duration) -> (StatusCode, Value) {
    let id = server.submit(n).await;
    tokio::time::sleep(head_start).await;
    let cancel = server
        .client
        .post(format!("{}/jobs/{id}/cancel", server.url));
    let answer = cancel.send().await.expect("an answer").status();
    let job = server.ended(&id).await;
    let status = job["status"].as_str().expect("a status");
    match answer.as_u16() {
        // Asked to stop; it may have completed first.
        202 => assert!(matches!(status, "cancelled" | "completed"), "{job}"),
        200 => assert_eq!(status, "cancelled", "{job}"),
        409 => assert_eq!(status, "completed", "{job}"),
        other => panic!("{other}: {job}"),
    }
    (answer, job)
}

#[tokio::test]
async fn cancel_and_completion_come_to_one_end_that_stays() {
    let rig = Rig::new();
    let server = rig.serve("");
    let lanes = join_all((0..LANES).map(async |lane| {
        // Whoever loses gets a better start: so the races become close, however fast the machine
        // is.
        let mut head_start = Duration::from_millis(1 + lane);
        let mut ends = Vec::new();
        for round in 0..ROUNDS {
            let end = race(&server, lane * ROUNDS + round, head_start).await;
            head_start = if end.1["status"] == json!("completed") {
                head_start.mul_f64(0.7)
            } else {
                head_start.mul_f64(1.6)
            };
            ends.push(end);
        }
        ends
    }))
    .await;
    let mut ways = BTreeMap::new();
    for (answer, job) in lanes.iter().flatten() {
        let id = job["job_id"].as_str().expect("an id");
        assert_eq!(server.job(id).await, *job, "its end was overwritten");
        *ways
            .entry((
                answer.as_u16(),
                job["status"].as_str().unwrap_or_default().to_owned(),
            ))
            .or_insert(0) += 1;
    }
    assert!(
        ways.keys().any(|(_, status)| status == "completed")
            && ways.keys().any(|(_, status)| status == "cancelled"),
        "the race was never close: {ways:?}"
    );
    for (prompt, calls) in rig.asked() {
        assert_eq!(calls, 1, "`{prompt}`");
    }
    server.kill();
    rig.is_sound();
}
