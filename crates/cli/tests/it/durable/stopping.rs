//! Being told to stop: the server by a signal, a run by its owner.

use std::time::{Duration, Instant};

use jobs::job::Status;
use jobs::sqlite::{Options, SqliteStore};
use jobs::store::JobStore as _;
use serde_json::json;

use super::fixture::{Rig, prompts};
use crate::http::post;

#[tokio::test]
async fn a_server_that_is_stopped_under_load_loses_nothing_and_spends_no_attempts() {
    let rig = Rig::new();
    rig.shut();
    let mut server = rig.serve("--max-running 10 --drain-timeout 100ms");
    let ids = server.submit_all(0..40).await;
    rig.model.called(10).await;
    server.process.signal("TERM");
    server
        .process
        .line_with("10 runs did not end in time and will go on at the next start");
    assert_eq!(server.process.end().0, Some(0));
    rig.is_sound();
    {
        let store = SqliteStore::open(&rig.file(), &Options::default()).expect("nobody has it");
        for id in &ids {
            let id = id.parse().expect("an id");
            let job = store
                .get(id)
                .await
                .expect("it answers")
                .expect("it is there");
            assert_eq!((job.status, job.attempts), (Status::Pending, 0), "{id}");
        }
    }

    rig.open();
    let server = rig.serve("");
    server.all_complete(&ids).await;
    let asked = rig.asked();
    for n in 0..40 {
        let [plan, rest @ ..] = prompts(n);
        assert!(asked[&plan] <= 2, "`{plan}` {}", asked[&plan]);
        for prompt in rest {
            assert_eq!(asked[&prompt], 1, "`{prompt}`");
        }
    }
    assert_eq!(rig.model.calls(), 40 * 4 + 10, "those in flight, once more");
}

#[tokio::test]
async fn cancel_aborts_the_models_request_within_a_second() {
    let rig = Rig::new();
    rig.shut();
    let server = rig.serve("");
    let id = server.submit(1).await;
    rig.model.called(1).await;
    let begun = Instant::now();
    let (status, _) = post(format!("{}/jobs/{id}/cancel", server.url), json!({})).await;
    assert_eq!(status, 202);
    rig.model.disconnected(1).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(server.ended(&id).await["status"], json!("cancelled"));
    assert_eq!(rig.model.calls(), 1);
}

#[tokio::test]
async fn cancelled_while_they_wait_none_starts() {
    let rig = Rig::new();
    rig.shut();
    let server = rig.serve("--max-running 1");
    let ids = server.submit_all(0..50).await;
    rig.model.called(1).await;
    // The one that runs comes last: the others must be gone when its slot is free.
    let mut in_order = Vec::new();
    for id in &ids {
        match server.job(id).await["status"].as_str() {
            Some("pending") => in_order.insert(0, id),
            _ => in_order.push(id),
        }
    }
    for id in in_order {
        post(format!("{}/jobs/{id}/cancel", server.url), json!({})).await;
    }
    for id in &ids {
        assert_eq!(server.ended(id).await["status"], json!("cancelled"));
    }
    assert_eq!(rig.model.calls(), 1);
}
