//! The database is away for a while.

use testing::{Gate, postgres};

use super::fixture::{Cluster, ok};
use crate::http::until;

/// (a report: results that came while the database restarted were lost, and their calls made again)
#[tokio::test]
async fn results_that_come_while_the_database_is_away_are_stored_when_it_is_back() {
    const RUNS: u64 = 5;
    let Some(server) = postgres::Server::start(postgres::Options::default()) else {
        return;
    };
    let gate = Gate::shut();
    let held = gate.clone();
    let cluster = Cluster::new(&server, move |request| {
        if request.prompt().starts_with("plan") {
            ok().behind(&held)
        } else {
            ok()
        }
    });
    let owner = cluster.start("--job-lease 60s");
    let ids = owner.submit_all(0..RUNS).await;
    cluster.model.called(5).await;

    server.stop_immediate();
    while owner.readiness().await.0 != 503 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (status, refusal) = owner
        .post_job(RUNS, serde_json::json!({}))
        .await
        .expect("an answer");
    assert_eq!(status, 503, "{refusal}");
    gate.open();
    until(|| cluster.model.in_flight() == 0).await;
    server.start_again();

    cluster.all_completed(ids).await;
    cluster.asked_once(0..RUNS);
    while owner.readiness().await.0 != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
