//! How much a server writes: what changes, and not all of it again.

use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use crate::http::{client, post, start_with};
use crate::support::Running;

/// Two nodes in a cycle of fifty rounds, over a field that neither of them writes.
const CYCLE: &str = r#"
schema_version: "1.0"
flow: {name: cycle}
state:
  fields:
    text: {type: str, required: true}
    a: {type: str}
    b: {type: str}
nodes:
  - {id: a, prompt: "a", output_schema: {type: str}, outputs: [a]}
  - {id: b, prompt: "b", output_schema: {type: str}, outputs: [b]}
edges:
  - {from: START, to: a}
  - {from: a, to: b}
  - {from: b, to: a, condition: "state._loop_iteration_b < 50"}
  - {from: b, to: END}
"#;

const MB: u64 = 1_000_000;

/// Bytes that the process has handed to the system, its answers included.
fn written(server: &Running) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", server.id())).expect("it runs");
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.expect("Linux counts it").parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_large_input_in_a_cycle_is_not_written_at_each_step() {
    let model = FakeModel::answering(|_| Reply::json(json!({"result": "ok"})));
    let project = TempProject::with_file("cycle.yaml", CYCLE);
    let mut server = start_with(&model, &project, "cycle.yaml");
    let url = server.url();
    let before = written(&server);
    let (status, answer) = post(format!("{url}/run"), json!({"text": "x".repeat(1_000_000)})).await;
    assert_eq!((status.as_u16(), model.calls()), (200, 100), "{answer}");
    let bytes = written(&server) - before;
    // Inputs, outputs, the last event: each into the log and from there into the file; and the
    // answer.
    assert!(bytes < 12 * MB, "{bytes} bytes for a hundred steps");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn retries_do_not_copy_the_inputs_of_their_job() {
    let model = FakeModel::answering(|request| match request.prompt() {
        "a" => Reply::json(json!({"result": "ok"})),
        _ => Reply::status(400),
    });
    let project = TempProject::with_file("cycle.yaml", CYCLE);
    let mut server = start_with(&model, &project, "cycle.yaml");
    let url = server.url();
    let (_, problem) = post(format!("{url}/run"), json!({"text": "x".repeat(1_000_000)})).await;
    let job = problem["job_id"].as_str().expect("an id").to_owned();
    let before = written(&server);
    let mut last = Value::Null;
    for _ in 0..40 {
        let (status, handle) = post(format!("{url}/jobs/{job}/retry"), json!({})).await;
        assert_eq!(status, 202, "{handle}");
        let id = handle["job_id"].as_str().expect("an id").to_owned();
        let waiting = client()
            .get(format!("{url}/jobs/{id}"))
            .header("prefer", "wait=60");
        last = waiting
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
    }
    assert_eq!(last["status"], json!("failed"), "{last}");
    assert_eq!(model.calls(), 2 + 40, "`a` is not paid for again");
    let bytes = written(&server) - before;
    assert!(bytes < 8 * MB, "{bytes} bytes for forty retries");
}
