//! `kill -9` at every point at which the server makes something durable: before and after each
//! `fsync`, and in the middle of a write. From an empty folder on, so that the store's making is
//! among the points.

use serde_json::{Value, json};

use super::crashes::Seed;
use super::fixture::{Rig, Server};
use super::shim::preload;
use crate::http::serve;

/// Of a run, and of a store's making.
const LEAST_POINTS: u32 = 12;

/// A run to its end; `None` when the server died.
async fn run(server: &Server) -> Option<()> {
    let id = server.try_submit(1).await?;
    let request = server
        .client
        .get(format!("{}/jobs/{id}", server.url))
        .header("prefer", "wait=60");
    let job: Value = request.send().await.ok()?.json().await.ok()?;
    assert_eq!(job["status"], json!("completed"), "{job}");
    Some(())
}

/// One life to that point, and another one that finishes what the first one left; whether the first
/// came to the point. `None` where it cannot be tried.
async fn dies_at(setting: &str, point: u32) -> Option<bool> {
    let rig = Rig::new();
    let mut command = serve(&rig.project, "story.yaml");
    preload(&mut command, setting, point.to_string())?;
    let survived = match rig.started_or_ended(&mut command) {
        Some(server) => run(&server).await,
        None => None,
    };
    let server = rig.serve("");
    let id = server.submit(1).await;
    server.all_complete(&[id]).await;
    assert_eq!(server.count_jobs().await, 1);
    server.kill();
    rig.is_sound();
    rig.nothing_was_paid_for_twice([1]);
    Some(survived.is_none())
}

#[tokio::test]
async fn before_and_after_each_sync() {
    let mut point = 1;
    loop {
        let failed = Seed(point.into());
        match dies_at("FLOWMILL_TEST_DIE_AT_SYNC", point).await {
            Some(true) => point += 1,
            Some(false) => break,
            None => return,
        }
        drop(failed);
    }
    assert!(point > LEAST_POINTS, "{point}");
}

#[tokio::test]
async fn in_the_middle_of_a_write() {
    let seed = Seed(fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed.0);
    let mut died = 0;
    for _ in 0..12 {
        match dies_at("FLOWMILL_TEST_DIE_AT_WRITE", random.u32(1..80)).await {
            Some(true) => died += 1,
            Some(false) => {}
            None => return,
        }
    }
    assert!(died > 0, "no write was reached");
}
