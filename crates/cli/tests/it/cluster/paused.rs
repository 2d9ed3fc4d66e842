//! A server that is paused past its lease (SIGSTOP), and goes on later (SIGCONT).

use serde_json::json;
use testing::{Gate, postgres};

use super::fixture::{Cluster, life, ok};
use crate::durable::fixture::prompts;
use crate::http::until;

const OPTIONS: &str = "--job-lease 1s";

/// (a report: a worker that had been paused wrote after another had taken its job over, and made the
/// next call, too)
#[tokio::test]
async fn a_server_paused_past_its_lease_starts_no_call_and_writes_nothing() {
    const RUNS: u64 = 8;
    let Some(server) = postgres::shared() else {
        return;
    };
    let gate = Gate::shut();
    let held = gate.clone();
    let cluster = Cluster::new(server, move |request| {
        if life(request) == 0
            && request
                .prompt()
                .ends_with(|last: char| last.is_ascii_digit())
        {
            ok().behind(&held)
        } else {
            ok()
        }
    });
    let paused = cluster.start(OPTIONS);
    let mut ids = paused.submit_all(0..RUNS).await;
    cluster.model.called(8).await;
    let other = cluster.start(OPTIONS);
    paused.process.signal("STOP");
    cluster.all_completed(ids.clone()).await;
    let left = written(&cluster);

    // It wakes up with the answers to all its calls in its hands.
    gate.open();
    until(|| cluster.model.in_flight() == 0).await;
    paused.process.signal("CONT");
    // It takes part again: as another replica, which the job proves that only it can run.
    other.process.signal("STOP");
    let id = paused.submit(RUNS).await;
    assert_eq!(paused.ended(&id).await["status"], json!("completed"));
    other.process.signal("CONT");

    assert_eq!(written(&cluster), left, "as the other one left them");
    let asked = cluster.asked();
    for n in 0..RUNS {
        let [plan, rest @ ..] = prompts(n);
        assert_eq!(asked[&plan], 2, "once by each");
        for prompt in rest {
            assert_eq!(asked[&prompt], 1, "{prompt}");
        }
    }
    ids.push(id);
    cluster.all_completed(ids).await;
    cluster.nothing_completed_was_asked_again(0..=RUNS);
}

/// All that the database has of the first runs.
fn written(cluster: &Cluster<'_>) -> Vec<Vec<String>> {
    cluster.database.query(
        "SELECT j::text, e::text, o::text
        FROM (SELECT * FROM flowmill.jobs ORDER BY id LIMIT 8) j
        JOIN flowmill.events e ON e.job = j.id JOIN flowmill.outputs o ON o.job = j.id
        ORDER BY e.job, e.id",
    )
}
