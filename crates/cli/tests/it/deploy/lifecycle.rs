//! Stopping, killing and replacing containers: what was accepted is neither lost nor paid for
//! twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use super::rig::{Deployment, docker, model};
use crate::http::{post, until};
use crate::support::{Ended, PATIENCE};

/// Two nodes, whose prompts name node and run.
const STEPS: &str = r#"
schema_version: "1.0"
flow: {name: steps}
state:
  fields:
    n: {type: int, required: true}
    first: {type: str}
    second: {type: str}
nodes:
  - {id: first, prompt: "first of {n}", output_schema: {type: str}, outputs: [first]}
  - {id: second, prompt: "second of {n}", output_schema: {type: str}, outputs: [second]}
edges:
  - {from: START, to: first}
  - {from: first, to: second}
  - {from: second, to: END}
"#;

/// A deployment whose model answers the second node only while its gate is open.
struct Rig {
    deployment: Deployment,
    model: FakeModel,
    gate: Arc<AtomicBool>,
}

impl Rig {
    fn new() -> Option<Self> {
        let deployment = Deployment::of(TempProject::with_file("steps.yaml", STEPS))?;
        let gate = Arc::new(AtomicBool::new(false));
        let is_open = gate.clone();
        let model = model(&deployment.project, move |request| {
            if !request.prompt().starts_with("first") {
                let begun = Instant::now();
                while !is_open.load(Ordering::SeqCst) && begun.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Reply::json(json!({ "result": "ok" }))
        });
        Some(Self {
            deployment,
            model,
            gate,
        })
    }

    /// With so long a drain.
    #[track_caller]
    fn deploy(&self, drain: &str) -> Value {
        self.deployment.deploy(
            "steps.yaml".as_ref(),
            &format!("--model openai/m --env-file keys.env --drain-timeout {drain}"),
        )
    }

    /// Submits a run and waits until its second node waits for the model.
    async fn in_flight(&self) -> String {
        let url = format!("{}/jobs", self.deployment.url);
        let (status, handle) = post(url, json!({ "inputs": { "n": 1 } })).await;
        assert_eq!(status, 202, "{handle}");
        until(|| self.asked("second of 1") > 0).await;
        handle["job_id"].as_str().expect("an id").to_owned()
    }

    fn asked(&self, prompt: &str) -> usize {
        let requests = self.model.requests();
        requests
            .iter()
            .filter(|request| request.prompt() == prompt)
            .count()
    }

    /// Fails unless the job completed, and the node that had completed before was asked once.
    async fn completes(&self, id: &str) {
        let job = self.deployment.ended(id).await;
        assert_eq!(job["status"], "completed", "{job}");
        assert_eq!(self.asked("first of 1"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_flight_goes_on_after_a_restart() {
    let Some(rig) = Rig::new() else { return };
    rig.deploy("100ms");
    let id = rig.in_flight().await;
    docker(["restart", &rig.deployment.name]);
    rig.gate.store(true, Ordering::SeqCst);
    rig.deployment.ready().await;
    rig.completes(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_flight_goes_on_after_a_kill() {
    let Some(rig) = Rig::new() else { return };
    rig.deploy("30s");
    let id = rig.in_flight().await;
    docker(["kill", &rig.deployment.name]);
    assert_eq!(rig.deployment.inspect("{{.State.ExitCode}}"), "137");
    rig.gate.store(true, Ordering::SeqCst);
    docker(["start", &rig.deployment.name]);
    rig.deployment.ready().await;
    rig.completes(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_runs_in_flight() {
    let Some(rig) = Rig::new() else { return };
    rig.deploy("50s");
    assert_eq!(rig.deployment.inspect("{{.Config.StopTimeout}}"), "60");
    let id = rig.in_flight().await;
    let name = rig.deployment.name.clone();
    let stopping = tokio::task::spawn_blocking(move || docker(["stop", &name]));
    until(|| rig.deployment.logs().contains("stopping")).await;
    rig.gate.store(true, Ordering::SeqCst);
    stopping.await.expect("docker stop");
    assert_eq!(rig.deployment.inspect("{{.State.ExitCode}}"), "0");
    assert_eq!(rig.asked("second of 1"), 1);
    docker(["start", &rig.deployment.name]);
    rig.deployment.ready().await;
    // It had ended before the stop: nothing was left to be asked.
    let job = rig.deployment.job(&id).await;
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(rig.asked("second of 1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_workflow_replaces_the_container_and_loses_no_job() {
    let Some(rig) = Rig::new() else { return };
    let before = rig.deploy("100ms");
    let id = rig.in_flight().await;

    let file = rig
        .deployment
        .project
        .write("steps.yaml", STEPS.replace("second of", "next of"));
    let refused = Ended::of(
        &mut rig
            .deployment
            .command(&file, "--model openai/m --env-file keys.env"),
    );
    refused.exits(4).says(&["already", "--replace"]);

    rig.gate.store(true, Ordering::SeqCst);
    let options = "--model openai/m --env-file keys.env --drain-timeout 100ms --replace";
    let after = rig.deployment.deploy(&file, options);
    assert_ne!(after["image"], before["image"]);
    assert_eq!(after["volume"], before["volume"]);
    // The job keeps the version it was accepted with.
    rig.completes(&id).await;
    assert_eq!(rig.asked("next of 1"), 0);
    let url = format!("{}/run", rig.deployment.url);
    let (status, answer) = post(url, json!({ "n": 2 })).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(rig.asked("next of 2"), 1);

    // A new one that does not come up leaves everything as it is.
    let keys = rig.deployment.project.read("keys.env");
    rig.deployment
        .project
        .write("bad.env", format!("{keys}FLOWMILL_LOG_LEVEL=loud\n"));
    let options = options.replace("keys.env", "bad.env");
    let failed = Ended::of(&mut rig.deployment.command(&file, &options));
    failed
        .exits(1)
        .says(&["exited during startup", "loud", "was started again"]);
    rig.deployment.ready().await;
    let job = rig.deployment.job(&id).await;
    assert_eq!(job["status"], "completed", "{job}");
}
