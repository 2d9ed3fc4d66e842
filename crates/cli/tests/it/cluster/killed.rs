//! A server is killed (`kill -9`), and another one goes on with its runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testing::{Reply, postgres};

use super::fixture::{Cluster, life, ok};
use crate::durable::fixture::prompts;

const LEASE: Duration = Duration::from_secs(3);
const OPTIONS: &str = "--job-lease 3s";

/// (a report: jobs of a killed worker were taken up only when it was started again, or after hours)
/// (a report: a completion that came late began the next step a second time)
#[tokio::test]
async fn all_runs_of_a_killed_server_go_on_within_the_lease_and_two_seconds() {
    const RUNS: u64 = 60;
    let Some(server) = postgres::shared() else {
        return;
    };
    // The killed one completes the first node of each run, and waits for its second for ever.
    let cluster = Cluster::new(server, |request| {
        if life(request) == 0 && request.prompt().starts_with("part") {
            Reply::hang()
        } else {
            ok()
        }
    });
    let killed = cluster.start(OPTIONS);
    let ids = killed.submit_all(0..RUNS).await;
    cluster.model.called(180).await;
    let _survivor = cluster.start(OPTIONS);
    let planned = "SELECT count(*) FROM flowmill.events WHERE kind = 'node_completed'";
    cluster
        .until("the first nodes are stored", || {
            cluster.database.count(planned) == 60
        })
        .await;

    killed.kill();
    let died = Instant::now();
    // Each one that runs again asks for both parts, and then for its end.
    cluster.model.called(360).await;
    assert!(
        died.elapsed() <= LEASE + Duration::from_secs(2),
        "they went on after {:?}",
        died.elapsed()
    );
    cluster.all_completed(ids).await;
    cluster.nothing_completed_was_asked_again(0..RUNS);
    let asked = cluster.asked();
    for n in 0..RUNS {
        let [plan, left, right, end] = prompts(n);
        assert_eq!((asked[&plan], asked[&end]), (1, 1), "run {n}");
        assert_eq!((asked[&left], asked[&right]), (2, 2), "run {n}");
    }
}

/// (a report: the dead worker's jobs held all slots of the queue, and nothing new was begun)
#[tokio::test]
async fn new_runs_begin_although_the_dead_server_had_all_its_slots_full() {
    let Some(server) = postgres::shared() else {
        return;
    };
    let cluster = Cluster::new(server, |request| {
        if life(request) == 0 {
            Reply::hang()
        } else {
            ok()
        }
    });
    let options = format!("{OPTIONS} --max-running 2");
    let killed = cluster.start(&options);
    let mut ids = killed.submit_all(0..2).await;
    cluster.model.called(2).await;
    let survivor = cluster.start(&options);
    killed.kill();
    ids.extend(survivor.submit_all(2..6).await);
    cluster.all_completed(ids).await;
    cluster.asked_once(2..6);
}

/// (a report: a worker that was started again under its old name kept the jobs of its former life
/// alive, and nobody ran them)
#[tokio::test]
async fn a_server_started_again_under_the_same_name_does_not_keep_its_old_runs_alive() {
    let Some(server) = postgres::shared() else {
        return;
    };
    let cluster = Cluster::new(server, |request| {
        if life(request) == 0 {
            Reply::hang()
        } else {
            ok()
        }
    });
    let killed = cluster.start(OPTIONS);
    let ids = killed.submit_all(0..5).await;
    cluster.model.called(5).await;
    killed.kill();
    let died = Instant::now();
    // The machine is the same, and so is the name.
    let _again = cluster.start(OPTIONS);
    cluster
        .until("its old runs go on", || cluster.asked_by(1) >= 5)
        .await;
    assert!(
        died.elapsed() <= LEASE + Duration::from_secs(2),
        "they went on after {:?}",
        died.elapsed()
    );
    cluster.all_completed(ids).await;
}

/// (a report: a run longer than the visibility timeout was started again each time it passed)
#[tokio::test]
async fn a_run_of_many_leases_is_left_to_its_living_server() {
    let Some(server) = postgres::shared() else {
        return;
    };
    let is_open = Arc::new(AtomicBool::new(false));
    let opened = is_open.clone();
    let cluster = Cluster::new(server, move |request| {
        if request.prompt().starts_with("plan") && !opened.load(Ordering::SeqCst) {
            ok().after(Duration::from_secs(5))
        } else {
            ok()
        }
    });
    let owner = cluster.start("--job-lease 500ms");
    let ids = owner.submit_all(0..3).await;
    let _others = [
        cluster.start("--job-lease 500ms"),
        cluster.start("--job-lease 500ms"),
    ];
    cluster.all_completed(ids).await;
    cluster.asked_once(0..3);
}
