//! A pooler between the servers and the database.

use testing::postgres::{self, PgBouncer, PoolMode};

use super::fixture::{Cluster, life, ok};

/// (a report: prepared statements and locks of a session were those of another client of the pooler)
#[tokio::test]
async fn runs_move_to_another_server_through_a_pooler_in_transaction_mode() {
    let Some(server) = postgres::shared() else {
        return;
    };
    let Some(pooler) = PgBouncer::start(server, PoolMode::Transaction) else {
        return;
    };
    let cluster = Cluster::new(server, |request| {
        if life(request) == 0 && request.prompt().starts_with("part") {
            testing::Reply::hang()
        } else {
            ok()
        }
    })
    .by_way_of(pooler.address());
    let killed = cluster.start("--job-lease 2s");
    let mut ids = killed.submit_all(0..20).await;
    cluster.model.called(60).await;
    let survivor = cluster.start("--job-lease 2s");
    killed.kill();
    ids.extend(survivor.submit_all(20..40).await);
    cluster.all_completed(ids).await;
    cluster.nothing_completed_was_asked_again(0..40);
}
