//! `kill -9`, at moments that a seed decides.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testing::Reply;

use super::fixture::{Rig, STORY};
use crate::http::post;

/// Says which seed to repeat when the test fails.
pub(super) struct Seed(pub(super) u64);

#[expect(clippy::print_stderr, reason = "a failed test says how to repeat it")]
impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

/// Kills that a job survives: one more would count as its own doing.
const KILLS: u64 = 3;

const RUNS: u64 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_moment_every_job_ends_and_no_completed_node_runs_again() {
    for seed in 1..=3 {
        crash_under_load(seed).await;
    }
}

async fn crash_under_load(seed: u64) {
    let seed = Seed(seed);
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed.0)));
    let below = {
        let random = random.clone();
        move |n: u64| random.lock().expect("no panic while it is held").u64(..n)
    };
    // Calls beyond are not answered: the work must not end before the server is killed.
    let answered = Arc::new(AtomicUsize::new(0));
    let asked = AtomicUsize::new(0);
    let rig = {
        let (answered, below) = (answered.clone(), below.clone());
        Rig::answering(move |_| {
            if asked.fetch_add(1, Ordering::SeqCst) < answered.load(Ordering::SeqCst) {
                Reply::json(json!({"result": "ok"})).after(Duration::from_millis(below(12)))
            } else {
                Reply::hang()
            }
        })
    };

    // Each client repeats its request until it has an id.
    let mut ids: HashMap<u64, String> = HashMap::new();
    for _ in 0..KILLS {
        let calls = rig.model.calls() + 1 + usize::try_from(below(30)).expect("small");
        answered.store(calls, Ordering::SeqCst);
        let server = rig.serve("");
        let waiting = (0..RUNS).filter(|n| !ids.contains_key(n));
        let submitting = join_all(waiting.map(async |n| Some((n, server.try_submit(n).await?))));
        let killing = async {
            rig.model.called(calls).await;
            server.process.signal("KILL");
        };
        let (submitted, ()) = tokio::join!(submitting, killing);
        ids.extend(submitted.into_iter().flatten());
        server.kill();
    }

    answered.store(usize::MAX, Ordering::SeqCst);
    let server = rig.serve("");
    for n in 0..RUNS {
        let id = server.submit(n).await;
        if let Some(known) = ids.insert(n, id.clone()) {
            assert_eq!(known, id, "run {n} was accepted already");
        }
    }
    let all: Vec<String> = ids.into_values().collect();
    server.all_complete(&all).await;
    assert_eq!(server.count_jobs().await, all.len());
    server.kill();
    rig.is_sound();

    rig.nothing_was_paid_for_twice(0..RUNS);
}

#[tokio::test]
async fn a_thousand_waiting_jobs_finish_after_a_restart_and_ended_ones_stay_as_they_are() {
    let rig = Rig::new();
    let server = rig.serve("--max-running 1");
    let ended = server.submit_all(0..5).await;
    server.all_complete(&ended).await;
    let mut before = Vec::new();
    for id in &ended {
        before.push(server.job(id).await);
    }
    rig.shut();
    let waiting = server.submit_all(5..1006).await;
    rig.model.called(5 * 4 + 1).await;
    server.kill();

    rig.open();
    let server = rig.serve("");
    server.all_complete(&waiting).await;
    for (id, before) in ended.iter().zip(before) {
        assert_eq!(server.job(id).await, before);
    }
    let asked = rig.asked();
    let repeated: Vec<_> = asked.iter().filter(|(_, calls)| **calls > 1).collect();
    assert_eq!(repeated.len(), 1, "only the call in flight: {repeated:?}");
    assert_eq!(asked.len(), 4 * 1006);
    server.kill();
    rig.is_sound();
}

#[tokio::test]
async fn a_run_keeps_its_definition_when_the_file_changes() {
    let rig = Rig::new();
    let server = rig.serve("");
    rig.shut();
    let id = server.submit(1).await;
    rig.model.called(1).await;
    server.kill();

    rig.project
        .write("story.yaml", STORY.replace("of {n}", "about {n}"));
    rig.open();
    let server = rig.serve("");
    server.all_complete(&[id]).await;
    let (status, _) = post(format!("{}/run", server.url), json!({"n": 2})).await;
    assert_eq!(status, 200);
    let asked = rig.asked();
    assert_eq!(asked.get("end of 1"), Some(&1), "{asked:?}");
    assert_eq!(asked.get("end about 1"), None, "{asked:?}");
    assert_eq!(asked.get("end about 2"), Some(&1), "{asked:?}");
}
