//! Events across a restart.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testing::Reply;

use super::fixture::Rig;
use crate::http::Events;

fn id(event: &Value) -> u64 {
    event["id"].as_u64().expect("it has one")
}

#[tokio::test]
async fn a_watcher_resumes_after_a_crash_without_a_gap_or_a_repetition() {
    // The last node waits for the next server.
    let rig = Rig::answering(|_| Reply::json(json!({"result": "ok"})));
    rig.model.script(vec![
        Reply::json(json!({"result": "ok"})),
        Reply::json(json!({"result": "ok"})),
        Reply::json(json!({"result": "ok"})),
        Reply::hang(),
    ]);
    let server = rig.serve("");
    let job = server.submit(1).await;
    let mut watching = Events::of(&server.url, &job, 0).await;
    let mut seen = Vec::new();
    rig.model.called(4).await;
    while seen.last().is_none_or(|event: &Value| {
        event["event"] != json!("node_started") || event["node"] != json!("end")
    }) {
        seen.push(watching.next().await.expect("the run goes on"));
    }
    server.kill();
    assert_eq!(watching.rest().await, Vec::<Value>::new());

    let server = rig.serve("");
    let last = id(seen.last().expect("the loop saw some"));
    seen.extend(Events::of(&server.url, &job, last).await.rest().await);
    let ids: Vec<u64> = seen.iter().map(id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "{seen:#?}");
    assert_eq!(seen.last().expect("some")["event"], json!("run_completed"));
    let all = Events::of(&server.url, &job, 0).await.rest().await;
    assert_eq!(all, seen);
    for after in 1..ids.len() {
        let rest = Events::of(&server.url, &job, after as u64)
            .await
            .rest()
            .await;
        assert_eq!(rest, seen[after..], "after {after}");
    }
}

#[tokio::test]
async fn a_watcher_whose_connection_drops_at_every_event_misses_none() {
    let rig =
        Rig::answering(|_| Reply::json(json!({"result": "ok"})).after(Duration::from_millis(10)));
    let server = rig.serve("");
    let watched = (0..5).map(async |n| {
        let job = server.submit(n).await;
        let mut seen = Vec::new();
        let mut last = 0;
        // A connection for each event, while the run goes on.
        while let Some(event) = Events::of(&server.url, &job, last).await.next().await {
            last = id(&event);
            seen.push(event);
        }
        let ids: Vec<u64> = seen.iter().map(id).collect();
        assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "{seen:#?}");
        assert_eq!(seen.last().expect("some")["event"], json!("run_completed"));
        assert_eq!(Events::of(&server.url, &job, 0).await.rest().await, seen);
        // Started and completed: the run and four calls.
        assert_eq!(seen.len(), 10);
    });
    join_all(watched).await;
}
