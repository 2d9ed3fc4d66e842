//! The machine's clock is set while runs are in flight.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use serde_json::json;
use testing::{Gate, Reply};

use super::fixture::{Rig, Server, prompts};
use super::shim::preload;
use crate::http::{client, serve};

const HOUR_S: i64 = 3_600;

/// How often the server has renewed its lease.
async fn beats(server: &Server) -> u64 {
    let answer = client().get(format!("{}/metrics", server.url)).send().await;
    let text = answer
        .expect("it answers")
        .text()
        .await
        .expect("it is text");
    let count = text
        .lines()
        .find_map(|line| {
            line.strip_prefix("flowmill_store_duration_seconds_count{verb=\"heartbeat\"} ")
        })
        .expect("it is counted");
    count.parse().expect("a number")
}

#[tokio::test]
async fn a_clock_set_by_an_hour_makes_no_run_start_again() {
    let gate = Gate::shut();
    let held = gate.clone();
    let rig = Rig::answering(move |_| Reply::json(json!({"result": "ok"})).behind(&held));
    let clock = rig.project.path("clock");
    fs::write(&clock, 0_i64.to_ne_bytes()).expect("it can be written");
    let mut command = serve(&rig.project, "story.yaml --job-lease 300ms --max-running 2");
    if preload(&mut command, "FLOWMILL_TEST_CLOCK", &clock).is_none() {
        return;
    }
    let server = rig.started(&mut command);
    let running = server.submit_all(0..2).await;
    rig.model.called(2).await;
    let waiting = server.submit_all(2..4).await;
    let set = |seconds: i64| {
        let file = OpenOptions::new().write(true).open(&clock);
        let set = file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0));
        set.expect("it can be written");
    };
    for seconds in [HOUR_S, -HOUR_S, 0, HOUR_S] {
        set(seconds);
        // It beats on by the time that it is now said to be.
        let before = beats(&server).await;
        while beats(&server).await < before + 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!(rig.model.calls(), 2);
    gate.open();
    server.all_complete(&running).await;
    server.all_complete(&waiting).await;
    for n in 0..4 {
        for prompt in prompts(n) {
            assert_eq!(rig.asked().get(&prompt), Some(&1), "{prompt}");
        }
    }
    for id in running.iter().chain(&waiting) {
        let row = rig.row(id);
        assert_eq!((row.attempts, row.token), (1, 1), "claimed once");
    }
}
