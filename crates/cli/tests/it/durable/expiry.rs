//! Forgetting under load: ended jobs go, active ones stay, and the store stays as small as it was
//! told to.

use futures_util::future::join_all;
use serde_json::json;
use testing::{Gate, Reply};

use super::fixture::{Rig, Server};
use crate::http::{get, until};

/// Runs that are held in flight all the time.
const ACTIVE: u64 = 10;

const LIMIT: u64 = 4 << 20;

/// Free pages that are kept for what comes next, and what the active jobs take.
const SLACK: u64 = 2 << 20;

fn held() -> (Rig, Gate) {
    let gate = Gate::shut();
    let held = gate.clone();
    let rig = Rig::answering(move |request| {
        let (_, n) = request.prompt().rsplit_once(' ').expect("it ends so");
        let reply = Reply::json(json!({"result": "ok"}));
        if n.parse::<u64>().expect("a number") < ACTIVE {
            reply.behind(&held)
        } else {
            reply
        }
    });
    (rig, gate)
}

/// What the store takes, by its own count.
fn bytes(rig: &Rig) -> u64 {
    let connection = rig.connection();
    let pragma = |name| -> u64 {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .expect("it can be read")
    };
    pragma("page_count") * pragma("page_size")
}

/// The active jobs have stayed, and end when they are let.
async fn the_active_ones_end(server: &Server, gate: &Gate, active: &[String]) {
    for id in active {
        assert_eq!(server.job(id).await["status"], json!("running"));
    }
    let ends = join_all(active.iter().map(async |id| server.ended(id).await));
    // Asked for before they end: afterwards they may go as well.
    let opening = async {
        tokio::task::yield_now().await;
        gate.open();
    };
    let (ends, ()) = tokio::join!(ends, opening);
    for job in ends {
        assert_eq!(job["status"], json!("completed"), "{job}");
    }
}

#[tokio::test]
async fn the_store_stays_within_its_size_and_no_active_job_goes() {
    let (rig, gate) = held();
    let server = rig.serve("--job-max-bytes 4mb");
    let active = server.submit_all(0..ACTIVE).await;
    rig.model.called(10).await;
    let padding = "x".repeat(50_000);
    let mut n = ACTIVE;
    let mut first = None;
    for _ in 0..5 {
        // More than there is room for.
        for _ in 0..6 {
            let envelope = json!({"inputs": {"end": padding}});
            let submitted =
                join_all((n..n + 20).map(|n| server.submit_with(n, envelope.clone()))).await;
            first.get_or_insert(submitted[0].clone());
            n += 20;
        }
        until(|| bytes(&rig) <= LIMIT + SLACK).await;
    }
    let first = first.expect("some were submitted");
    let (status, _) = get(format!("{}/jobs/{first}", server.url)).await;
    assert_eq!(status, 404, "the oldest has gone");
    let on_disk: u64 = ["", "-wal"]
        .iter()
        .map(|suffix| rig.project.path(format!("flowmill.db{suffix}")))
        .map(|file| std::fs::metadata(file).expect("it is there").len())
        .sum();
    assert!(on_disk < 20 << 20, "{on_disk} of the 30 MB that came");
    the_active_ones_end(&server, &gate, &active).await;
    server.kill();
    rig.is_sound();
}

#[tokio::test]
async fn ended_jobs_go_at_their_age_and_no_active_one() {
    let (rig, gate) = held();
    let server = rig.serve("--job-retention 1s");
    let active = server.submit_all(0..ACTIVE).await;
    rig.model.called(10).await;
    // One wave ages while the next one runs.
    for n in [10, 60, 110] {
        server.submit_all(n..n + 50).await;
    }
    let count = || -> u64 {
        rig.connection()
            .query_row("SELECT count(*) FROM jobs", [], |row| row.get(0))
            .expect("it can be read")
    };
    until(|| count() == ACTIVE).await;
    the_active_ones_end(&server, &gate, &active).await;
    until(|| count() == 0).await;
    let of_each: usize = rig
        .asked()
        .into_values()
        .filter(|calls| *calls != 1)
        .count();
    assert_eq!(of_each, 0, "no call was repeated");
    server.kill();
    rig.is_sound();
}
