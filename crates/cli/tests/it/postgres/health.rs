//! What a server tells of its database: readiness, and metrics for one replica and for all.

use std::time::Duration;

use serde_json::json;
use testing::postgres::{self, Options, Server};

use super::start;
use crate::http::{client, get, post};
use crate::support::{PATIENCE, greeting};

/// A sample of `/metrics`.
async fn metric(url: &str, name: &str) -> Option<f64> {
    let answer = client().get(format!("{url}/metrics")).send().await;
    let text = answer.expect("an answer").text().await.expect("text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map(|value| value.parse().expect("a number"))
}

async fn becomes_ready(url: &str, expected: u16) {
    let waiting = async {
        while get(format!("{url}/health/ready")).await.0 != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "/health/ready never answers {expected}");
}

#[tokio::test]
async fn a_server_is_ready_only_while_its_database_can_be_written() {
    let Some(server) = Server::start(Options::default().without_fsync()) else {
        return;
    };
    let database = server.database();
    let (_flowmill, url) = start(&greeting(), &database.url(), "");
    becomes_ready(&url, 200).await;
    assert_eq!(metric(&url, "flowmill_store_up").await, Some(1.0));
    let connections = metric(&url, "flowmill_store_connections_total").await;
    assert!(connections > Some(0.0), "{connections:?}");

    // It answers, and takes no writes.
    server.query("ALTER SYSTEM SET default_transaction_read_only = on");
    server.query("SELECT pg_reload_conf()");
    becomes_ready(&url, 503).await;
    server.query("ALTER SYSTEM RESET default_transaction_read_only");
    server.query("SELECT pg_reload_conf()");
    becomes_ready(&url, 200).await;

    server.stop_immediate();
    becomes_ready(&url, 503).await;
    let (status, answer) = post(format!("{url}/jobs"), json!({"inputs": {"name": "Ada"}})).await;
    assert_eq!(status, 503, "{answer}");
    server.start_again();
    becomes_ready(&url, 200).await;
    let (status, answer) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    assert_eq!(status, 200, "{answer}");
    let again = metric(&url, "flowmill_store_connections_total").await;
    assert!(again > connections, "{again:?} after {connections:?}");
}

#[tokio::test]
async fn what_the_database_counts_is_the_same_on_all_replicas() {
    let Some(database) = postgres::database() else {
        return;
    };
    let project = greeting();
    let (_one, first) = start(&project, &database.url(), "");
    let (_two, second) = start(&project, &database.url(), "");
    let both = async {
        while metric(&first, "flowmill_replicas").await != Some(2.0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, both)
        .await
        .expect("the other one is seen");
    assert_eq!(metric(&second, "flowmill_replicas").await, Some(2.0));
    for name in [
        "flowmill_jobs_queued",
        "flowmill_jobs_running",
        "flowmill_runs_in_flight",
    ] {
        assert_eq!(metric(&first, name).await, Some(0.0), "{name}");
        assert_eq!(metric(&second, name).await, Some(0.0), "{name}");
    }
}
