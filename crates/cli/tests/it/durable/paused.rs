//! Leases: a run that takes longer than one, and a server that is paused past one (SIGSTOP,
//! SIGCONT).
//!
//! A store in a file has one server at a time. So whoever takes a run over while its server is
//! paused is played by the test, which writes to the file what another worker would.

use std::time::Duration;

use serde_json::{Value, json};
use testing::{Gate, Reply};

use super::fixture::{Rig, Server, bytes, prompts};
use crate::http::{Events, until};
use crate::support::{run_in, words};

const LEASE: Duration = Duration::from_millis(300);
const OPTIONS: &str = "--job-lease 300ms --log-level debug";

fn ok() -> Reply {
    Reply::json(json!({"result": "ok"}))
}

/// A rig whose model answers the first node when the gate is opened.
fn held() -> (Rig, Gate) {
    let gate = Gate::shut();
    let held = gate.clone();
    let rig = Rig::answering(move |request| {
        if request.prompt().starts_with("plan") {
            ok().behind(&held)
        } else {
            ok()
        }
    });
    (rig, gate)
}

/// The last events of a run: exactly one.
async fn ended_once(server: &Server, id: &str) {
    let events = Events::of(&server.url, id, 0).await.rest().await;
    let is_last = |event: &&Value| {
        let kind = event["event"].as_str().expect("it has one");
        matches!(kind, "run_completed" | "run_failed" | "run_cancelled")
    };
    assert_eq!(events.iter().filter(is_last).count(), 1, "{events:#?}");
}

#[tokio::test]
async fn a_call_ten_times_as_long_as_the_lease_is_made_once() {
    let rig = Rig::answering(|request| {
        if request.prompt() == "plan of 1" {
            ok().after(LEASE * 10)
        } else {
            ok()
        }
    });
    let server = rig.serve(OPTIONS);
    let id = server.submit(1).await;
    assert_eq!(server.ended(&id).await["status"], json!("completed"));
    for prompt in prompts(1) {
        assert_eq!(rig.asked().get(&prompt), Some(&1), "{prompt}");
    }
    let row = rig.row(&id);
    assert_eq!((row.attempts, row.token), (1, 1), "claimed once");
    ended_once(&server, &id).await;
}

#[tokio::test]
async fn a_server_paused_past_its_lease_goes_on_with_the_same_execution() {
    let (rig, gate) = held();
    let server = rig.serve(OPTIONS);
    let id = server.submit(1).await;
    rig.model.called(1).await;
    server.process.signal("STOP");
    // Its lease ends meanwhile, whatever anybody does.
    tokio::time::sleep(LEASE * 2).await;
    // Nobody else gets at the runs of a server that is there, though it gives no sign of life.
    run_in(
        rig.project.root(),
        words("serve story.yaml --offline --port 0"),
    )
    .exits(4)
    .says(&["another process is using this store"]);
    // The answer comes while nobody reads it.
    gate.open();
    until(|| rig.model.in_flight() == 0).await;
    server.process.signal("CONT");

    assert_eq!(server.ended(&id).await["status"], json!("completed"));
    for prompt in prompts(1) {
        assert_eq!(rig.asked().get(&prompt), Some(&1), "{prompt}");
    }
    let row = rig.row(&id);
    assert_eq!((row.attempts, row.token), (1, 1), "claimed once");
    ended_once(&server, &id).await;
}

/// Pauses the server in a moment in which it is not writing, and takes its run over.
async fn take_over(rig: &Rig, server: &Server, id: &str) {
    let connection = rig.connection();
    loop {
        server.process.signal("STOP");
        let taken = connection.execute(
            "UPDATE jobs SET token = token + 1, attempts = attempts + 1, worker = 'another'
             WHERE id = ?1",
            [bytes(id)],
        );
        match taken {
            Ok(rows) => {
                assert_eq!(rows, 1);
                return;
            }
            // It was stopped during a commit.
            Err(error) => {
                assert_eq!(
                    error.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::DatabaseBusy),
                    "{error}"
                );
                server.process.signal("CONT");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

#[tokio::test]
async fn what_a_paused_server_writes_is_fenced_off_once_another_has_its_run() {
    let (rig, gate) = held();
    let mut server = rig.serve(OPTIONS);
    let id = server.submit(1).await;
    rig.model.called(1).await;
    take_over(&rig, &server, &id).await;
    // It will wake up with the answer in its hands.
    gate.open();
    until(|| rig.model.in_flight() == 0).await;
    server.process.signal("CONT");
    server.process.line_with("a run stopped; ");

    // The other one is not alive, so the run is taken up again.
    assert_eq!(server.ended(&id).await["status"], json!("completed"));
    let [plan, rest @ ..] = prompts(1);
    assert_eq!(rig.asked()[&plan], 2, "its answer was fenced off");
    for prompt in rest {
        assert_eq!(rig.asked()[&prompt], 1, "{prompt}");
    }
    let row = rig.row(&id);
    assert_eq!((row.attempts, row.token), (3, 3));
    ended_once(&server, &id).await;
    server.kill();
    rig.is_sound();
}
