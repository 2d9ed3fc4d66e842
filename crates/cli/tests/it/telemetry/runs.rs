//! Runs of flowmill as runs of MLflow, read back by MLflow's own client.

use reqwest::Method;
use serde_json::{Value, json};

use super::rig::{model, project, rig, serve, spans, until};
use crate::http::{call, get, post};
use crate::support::{flowmill, run_in, words};

fn artifact(run: &Value, path: &str) -> Value {
    let text = run["artifacts"][path].as_str();
    let text = text.unwrap_or_else(|| panic!("{path} in {run}"));
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_its_inputs_figures_tags_and_artifacts() {
    let Some(rig) = rig() else { return };
    let (model, project) = (model(), project("tracked"));
    let mut server = serve(&rig.url, &model, &project, "--store memory");
    let url = server.url();
    let (status, body) = post(format!("{url}/run"), json!({"topic": "again otters"})).await;
    assert_eq!(status, 200, "{body}");
    let run = rig.run_with("tracked", "FINISHED");

    assert!(
        run["name"].as_str().is_some_and(|name| {
            name.strip_prefix("sync_")
                .is_some_and(|hex| hex.len() == 8 && hex.chars().all(|c| c.is_ascii_hexdigit()))
        }),
        "{run}"
    );
    assert_eq!(run["params"], json!({"topic": "again otters"}));
    let tags = &run["tags"];
    assert_eq!(tags["flowmill.job_id"], body["job_id"]);
    assert_eq!(tags["flowmill.workflow"], "tracked");
    assert_eq!(tags["flowmill.version"], "1.2");
    assert_eq!(
        tags["flowmill.definition_hash"].as_str().map(str::len),
        Some(64)
    );
    // The first answer of `write` does not fit, so it is asked twice: three calls of 15 tokens.
    let metrics = &run["metrics"];
    assert_eq!(
        metrics["execution_time_ms"],
        json!(body["execution_time_ms"].as_f64())
    );
    for (name, value) in [
        ("success", 1.0),
        ("model_calls", 3.0),
        ("retries", 1.0),
        ("input_tokens", 30.0),
        ("output_tokens", 15.0),
        ("cached_tokens", 0.0),
        ("node.write.model_calls", 2.0),
        ("node.write.retries", 1.0),
        ("node.write.success", 1.0),
        ("node.edit.model_calls", 1.0),
        ("node.edit.input_tokens", 10.0),
    ] {
        assert_eq!(metrics[name], value, "{name}: {run}");
    }
    let cost = metrics["cost_usd"].as_f64().expect("a price is known");
    assert!((cost - 0.045).abs() < 1e-9, "{cost}");
    assert!(metrics["node.write.execution_time_ms"].is_number());
    assert!(run["end"].as_i64() >= run["start"].as_i64());

    assert_eq!(
        artifact(&run, "inputs.json"),
        json!({"topic": "again otters"})
    );
    assert_eq!(artifact(&run, "outputs.json"), body["outputs"]);
    let attempts = artifact(&run, "nodes/write.1.json");
    assert_eq!(attempts[0]["prompt"], "write about again otters");
    assert_eq!(attempts[0]["reply"], r#"{"wrong":true}"#);
    assert_eq!(attempts[1]["reply"], r#"{"result":"<otters>"}"#);
    assert_eq!(run["artifacts"].get("state/0001.write.json"), None);
    assert_eq!(run["traces"].as_array().map(Vec::len), Some(1), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_says_why_and_long_inputs_are_whole_in_an_artifact() {
    let Some(rig) = rig() else { return };
    let (model, project) = (model(), project("failing"));
    let mut server = serve(&rig.url, &model, &project, "--store memory");
    let url = server.url();
    let topic = format!("refuse {}", "x".repeat(7000));
    let (status, body) = post(format!("{url}/run"), json!({"topic": topic})).await;
    assert!(status.is_server_error(), "{body}");
    let run = rig.run_with("failing", "FAILED");
    assert_eq!(run["tags"]["flowmill.error_class"], "model_error");
    assert_eq!(run["tags"]["flowmill.error"], body["detail"]);
    assert_eq!(run["tags"]["mlflow.note.content"], body["detail"]);
    assert_eq!(run["metrics"]["success"], 0.0);
    let param = run["params"]["topic"].as_str().expect("a parameter");
    assert_eq!(param.chars().count(), 6000);
    assert!(param.starts_with("refuse xxx") && param.ends_with('…'));
    assert_eq!(artifact(&run, "inputs.json"), json!({"topic": topic}));
    let error = artifact(&run, "error.json");
    assert_eq!(
        (&error["code"], &error["node"]),
        (&json!("model_error"), &json!("write"))
    );
    let trace = rig.trace("failing");
    assert_eq!(trace["state"], "ERROR");
    for span in spans(&trace) {
        assert_eq!(span["status"], "ERROR", "{span}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_is_killed() {
    let Some(rig) = rig() else { return };
    let (model, project) = (model(), project("cancelled"));
    let mut server = serve(&rig.url, &model, &project, "--store memory");
    let url = server.url();
    let (_, job) = post(format!("{url}/jobs"), json!({"inputs": {"topic": "hang"}})).await;
    model.called(2).await;
    let job = job["job_id"].as_str().expect("an id");
    let (status, _) = post(format!("{url}/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(status, 202);
    let run = rig.run_with("cancelled", "KILLED");
    assert!(
        run["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("async_"))
    );
    assert_eq!(run["tags"]["flowmill.error_class"], "cancelled");
    let trace = rig.trace("cancelled");
    let aborted = spans(&trace)
        .iter()
        .find(|span| span["name"] == "invoke_agent edit")
        .expect("the node that was aborted");
    assert_eq!(aborted["error"], "aborted with the run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_handed_over_is_renamed_and_stays_one() {
    let Some(rig) = rig() else { return };
    let (model, project) = (model(), project("handed"));
    let mut server = serve(&rig.url, &model, &project, "--store memory");
    let url = server.url();
    let run = call(
        Method::POST,
        format!("{url}/run"),
        Some("wait=8"),
        Some(json!({"topic": "hang"})),
    );
    let waiting = tokio::spawn(run);
    // While somebody waits for it, it is a synchronous one.
    let name = until(|| {
        let runs = rig.runs("handed");
        let name = runs
            .first()
            .and_then(|run| run["name"].as_str().map(str::to_owned));
        name.ok_or(runs)
    });
    assert!(name.starts_with("sync_"), "{name}");
    let (status, handle) = waiting.await.expect("an answer");
    assert_eq!(status, 202);
    let job = handle["job_id"].as_str().expect("an id");
    post(format!("{url}/jobs/{job}/cancel"), json!({})).await;
    let run = rig.run_with("handed", "KILLED");
    assert_eq!(run["name"], name.replace("sync_", "async_"));
    assert_eq!(run["tags"]["mlflow.runName"], run["name"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_after_a_crash_is_the_same_run_and_trace() {
    let Some(rig) = rig() else { return };
    let (model, project) = (model(), project("resumed"));
    let mut server = serve(&rig.url, &model, &project, "");
    let url = server.url();
    let (_, job) = post(format!("{url}/jobs"), json!({"inputs": {"topic": "hang"}})).await;
    // A run that goes on is told of every few seconds: the first node is there before the crash.
    until(|| {
        let traces = rig.traces("resumed");
        let is_told = traces
            .iter()
            .flat_map(spans)
            .any(|span| span["name"] == "invoke_agent write");
        if is_told { Ok(()) } else { Err(traces) }
    });
    assert_eq!(
        rig.run_with("resumed", "RUNNING")["params"]["topic"],
        "hang"
    );
    drop(server);
    // Where `edit` hung, another model answers.
    let patient =
        testing::FakeModel::answering(|_| testing::Reply::json(json!({"result": "done"})));
    let mut server = serve(&rig.url, &patient, &project, "");
    let url = server.url();
    let job = job["job_id"].as_str().expect("an id");
    let (_, ended) = call(
        Method::GET,
        format!("{url}/jobs/{job}"),
        Some("wait=60"),
        None,
    )
    .await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let run = rig.run_with("resumed", "FINISHED");
    assert_eq!(run["tags"]["flowmill.job_id"], job);
    let trace = rig.trace("resumed");
    assert_eq!(trace["id"], format!("tr-{}", job.replace('-', "")));
    let names: Vec<&str> = spans(&trace)
        .iter()
        .filter_map(|span| span["name"].as_str())
        .collect();
    for name in [
        "invoke_workflow resumed",
        "invoke_agent write",
        "invoke_agent edit",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert_eq!(get(format!("{url}/health")).await.0, 200);
}

#[test]
fn the_level_decides_how_many_artifacts_there_are() {
    let Some(rig) = rig() else { return };
    let check = |level: &str, expected: &[&str]| {
        let name = format!("level_{level}");
        let (model, project) = (model(), project(&name));
        let line = format!(
            "run workflow.yaml -q --model openai/test --input topic=otters --mlflow-artifacts {level}"
        );
        let ended = flowmill(project.root(), words(&line))
            .env("OPENAI_BASE_URL", model.base_url())
            .env("OPENAI_API_KEY", "none")
            .env("MLFLOW_TRACKING_URI", &rig.url)
            .output()
            .expect("it runs");
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        let run = rig.run_with(&name, "FINISHED");
        let artifacts = run["artifacts"].as_object().expect("a map");
        let mut paths: Vec<&str> = artifacts.keys().map(String::as_str).collect();
        paths.sort_unstable();
        assert_eq!(paths, expected, "{level}");
    };
    check("minimal", &["inputs.json", "outputs.json"]);
    check(
        "full",
        &[
            "inputs.json",
            "nodes/edit.1.json",
            "nodes/write.1.json",
            "outputs.json",
            "state/0001.write.json",
            "state/0002.edit.json",
        ],
    );
}

const CANARY: &str = "canary-4711-gold";

#[test]
fn what_is_sensitive_or_not_to_be_kept_is_nowhere() {
    let Some(rig) = rig() else { return };
    let check = |name: &str, from: &str, to: &str| {
        let (model, project) = (model(), project(name));
        let text = super::rig::WORKFLOW.replace("NAME", name).replace(from, to);
        std::fs::write(project.path("workflow.yaml"), text).expect("it can be written");
        let line = format!(
            "run workflow.yaml -q --model openai/test --input topic={CANARY} --mlflow-artifacts full"
        );
        let ended = flowmill(project.root(), words(&line))
            .env("OPENAI_BASE_URL", model.base_url())
            .env("OPENAI_API_KEY", "none")
            .env("MLFLOW_TRACKING_URI", &rig.url)
            .output()
            .expect("it runs");
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        let run = rig.run_with(name, "FINISHED");
        let trace = rig.trace(name);
        assert!(spans(&trace).len() >= 5, "{trace}");
        for what in [&run, &trace] {
            assert!(!what.to_string().contains("canary-4711"), "{what}");
        }
    };
    check(
        "sensitive",
        "topic: {type: str, required: true}\n    draft: {type: str}\n    final: {type: str}",
        "topic: {type: str, required: true, sensitive: true}\n    draft: {type: str, sensitive: true}\n    final: {type: str, sensitive: true}",
    );
    check(
        "metadata",
        "edges:",
        "config: {observability: {capture: metadata}}\nedges:",
    );
    check(
        "nothing",
        "edges:",
        "config: {observability: {capture: none}}\nedges:",
    );
}

#[test]
fn what_is_no_server_is_refused_with_the_command_to_start_one() {
    let project = project("refused");
    for uri in ["file:./mlruns", "sqlite:///mlflow.db"] {
        let mut command = flowmill(
            project.root(),
            words("run workflow.yaml --offline --input topic=x"),
        );
        command.env("MLFLOW_TRACKING_URI", uri);
        crate::support::Ended::of(&mut command)
            .exits(2)
            .says(&["MLFLOW_TRACKING_URI", "mlflow server"]);
    }
    run_in(project.root(), words("mlflow check"))
        .exits(2)
        .says(&["no MLflow server is configured", "MLFLOW_TRACKING_URI"]);
}
