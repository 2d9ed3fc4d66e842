//! Clients that ask several servers for the same.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use testing::postgres;

use super::fixture::{Cluster, ok};
use crate::durable::fixture::Server;

/// (a report: a request that was repeated at another instance ran a second time)
#[tokio::test]
async fn one_key_is_one_job_whichever_servers_are_asked() {
    const REQUESTS: usize = 100;
    let Some(server) = postgres::shared() else {
        return;
    };
    let cluster = Cluster::new(server, |_| ok());
    let servers: Vec<Server> = (0..4).map(|_| cluster.start("")).collect();
    // Half of them have other inputs under the same key.
    let all = (0..REQUESTS).map(|number| {
        let server = &servers[number % servers.len()];
        let n = number / servers.len() % 2;
        async move {
            let response = server
                .client
                .post(format!("{}/jobs", server.url))
                .header("idempotency-key", "the same")
                .json(&json!({"inputs": {"n": n}}))
                .send()
                .await
                .expect("an answer");
            let status = response.status().as_u16();
            let body: serde_json::Value = response.json().await.expect("JSON");
            (n, status, body)
        }
    });
    let answers = join_all(all).await;
    let accepted: BTreeSet<(usize, String)> = answers
        .iter()
        .filter(|(_, status, _)| *status == 202)
        .map(|(n, _, body)| (*n, body["job_id"].as_str().expect("an id").to_owned()))
        .collect();
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    let (chosen, id) = accepted.into_iter().next().expect("there is one");
    for (n, status, body) in &answers {
        let expected = if *n == chosen { 202 } else { 422 };
        assert_eq!(*status, expected, "{body}");
    }
    cluster.all_completed(vec![id]).await;
    cluster.asked_once([chosen as u64]);
}
