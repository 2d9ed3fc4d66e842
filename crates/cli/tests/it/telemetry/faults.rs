//! MLflow and the collector refused, hung, failing or gone: no run fails, it is said once, and it
//! gets through again by itself.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use testing::{FakeModel, Manner, Reply, Sink, TempProject};

use super::rig::{model, project, until};
use crate::http::{client, post, start_in};
use crate::support::Running;

const RUNS: usize = 12;

fn start(url: &str, model: &FakeModel, project: &TempProject) -> Running {
    let environment = [
        ("MLFLOW_TRACKING_URI", url),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ];
    start_in(&environment, model, project, "workflow.yaml --store memory")
}

async fn run_all(url: &str) {
    for _ in 0..RUNS {
        let (status, body) = post(format!("{url}/run"), json!({"topic": "otters"})).await;
        assert_eq!(status, 200, "{body}");
    }
}

/// Waits until MLflow knows the end of so many runs.
fn until_told(sink: &Sink, runs: usize) {
    until(|| {
        let ended = sink
            .received("/api/2.0/mlflow/runs/update")
            .iter()
            .filter(|received| received.json()["status"] == "FINISHED")
            .count();
        if ended >= runs { Ok(()) } else { Err(ended) }
    });
}

fn count(lines: &[String], parts: [&str; 2]) -> usize {
    let has_both = |line: &&String| parts.iter().all(|part| line.contains(part));
    lines.iter().filter(has_both).count()
}

/// Waits for the server's end: exit code and every line of stderr.
fn end(server: Running) -> (Option<i32>, Vec<String>) {
    let ended = server.ended();
    let lines = ended.stderr.lines().map(str::to_owned).collect();
    (ended.code, lines)
}

/// Runs while the sink misbehaves, then again when it no longer does.
async fn check(name: &str, manner: Manner) {
    let sink = Sink::start(manner);
    let (model, project) = (model(), project(name));
    let mut server = start(&sink.url(), &model, &project);
    let url = server.url();
    run_all(&url).await;
    // Both were tried, more than once.
    until(|| {
        let tried = [
            sink.received("/api/2.0/mlflow/").len(),
            sink.received("/v1/traces").len(),
        ];
        if tried.iter().all(|tried| *tried >= 2) {
            Ok(())
        } else {
            Err(tried)
        }
    });
    sink.set(Manner::Fine);
    until_told(&sink, RUNS);
    server.line_with("the telemetry endpoint is reachable again");
    server.signal("TERM");
    let (code, lines) = end(server);
    assert_eq!(code, Some(0), "{lines:#?}");
    let of_mlflow = ["cannot reach the telemetry endpoint", "sink=\"mlflow\""];
    assert_eq!(count(&lines, of_mlflow), 1, "{lines:#?}");
    if manner == Manner::Status(500) {
        // By the protocol a collector that answers so is not to be asked again for the same spans.
        let told = count(&lines, ["the collector rejects spans", "500"]);
        assert!((1..=3).contains(&told), "{lines:#?}");
    } else {
        let of_collector = ["cannot reach the telemetry endpoint", "sink=\"otlp\""];
        assert_eq!(count(&lines, of_collector), 1, "{lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_fails() {
    check("sink_fails", Manner::Status(500)).await;
    check("sink_is_busy", Manner::Status(503)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_hangs() {
    check("sink_hangs", Manner::Hang).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_not_there_and_comes_and_goes() {
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let (model, project) = (model(), project("sink_is_away"));
    let mut server = start(&format!("http://127.0.0.1:{port}"), &model, &project);
    let url = server.url();
    run_all(&url).await;
    server.line_with("cannot reach the telemetry endpoint");
    let sink = Sink::start_on(port, Manner::Fine);
    until_told(&sink, RUNS);
    // And gone again while a run is on its way.
    let (_, job) = post(format!("{url}/jobs"), json!({"inputs": {"topic": "hang"}})).await;
    model.called(2 * RUNS + 2).await;
    drop(sink);
    run_all(&url).await;
    let job = job["job_id"].as_str().expect("an id");
    let (status, _) = post(format!("{url}/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(status, 202);
    let metrics = client()
        .get(format!("{url}/metrics"))
        .send()
        .await
        .expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(
        metrics.contains("flowmill_telemetry_dropped_total{sink=\"mlflow\"} 0"),
        "{metrics}"
    );
    server.signal("TERM");
    // It ends, though nothing can be sent any more, and says how much was lost.
    let (code, lines) = end(server);
    assert_eq!(code, Some(0), "{lines:#?}");
    assert_eq!(
        count(&lines, ["some telemetry could not be sent", "runs"]),
        1,
        "{lines:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_refuses_is_named_once_and_costs_no_run() {
    let sink = Sink::start(Manner::Status(403));
    let (model, project) = (model(), project("sink_refuses"));
    let mut server = start(&sink.url(), &model, &project);
    let url = server.url();
    run_all(&url).await;
    until(|| {
        let tried = sink.received("/api/2.0/mlflow/experiments").len();
        if tried >= RUNS { Ok(()) } else { Err(tried) }
    });
    server.signal("TERM");
    let (code, lines) = end(server);
    assert_eq!(code, Some(0), "{lines:#?}");
    // The first, and the tenth.
    assert_eq!(count(&lines, ["MLflow rejected", "403"]), 2, "{lines:#?}");
}

/// MLflow may have made a run though it did not answer.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_hang_no_job_has_two_runs_and_none_goes_on_for_ever() {
    let create = "/api/2.0/mlflow/runs/create";
    let sink = Sink::start(Manner::HangAt(create));
    let (model, project) = (model(), project("sink_hangs_midway"));
    let mut server = start(&sink.url(), &model, &project);
    let url = server.url();
    run_all(&url).await;
    until(|| {
        let tried = sink.received(create).len();
        if tried >= 2 { Ok(()) } else { Err(tried) }
    });
    sink.set(Manner::Fine);
    until_told(&sink, RUNS);
    server.signal("TERM");
    let (code, lines) = end(server);
    assert_eq!(code, Some(0), "{lines:#?}");
    let job_of = |made: &testing::Arrived| {
        let tags = made.json()["tags"].as_array().cloned().unwrap_or_default();
        let tag = tags.into_iter().find(|tag| tag["key"] == "flowmill.job_id");
        tag.expect("a tag of the job")["value"].to_string()
    };
    let mut jobs: Vec<String> = sink.received(create).iter().map(job_of).collect();
    let made = jobs.len();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!(
        (jobs.len(), made),
        (RUNS, RUNS),
        "each job is made a run of once"
    );
    let ended = sink.received("/api/2.0/mlflow/runs/update");
    let mut finished: Vec<String> = ended
        .iter()
        .filter(|update| update.json()["status"] == "FINISHED")
        .map(|update| update.json()["run_id"].to_string())
        .collect();
    finished.sort_unstable();
    finished.dedup();
    assert_eq!(finished.len(), RUNS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_a_line_of_the_log_and_its_node_has_a_duration() {
    let sink = Sink::start(Manner::Fine);
    let project = project("run_fails");
    let refused = Reply::status(400).after(Duration::from_millis(20));
    let model = FakeModel::answering(move |_| refused.clone());
    let mut server = start(&sink.url(), &model, &project);
    let url = server.url();
    let (status, body) = post(format!("{url}/run"), json!({"topic": "a secret topic"})).await;
    assert_eq!(status, 500, "{body}");
    let job = body["job_id"].as_str().expect("an id");
    let line = server.line_with("a run failed");
    for part in [job, "write", "model_error", "INFO"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("a secret topic"), "{line}");
    let metrics = client().get(format!("{url}/metrics")).send().await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    let count = "flowmill_node_duration_seconds_count{node=\"write\",workflow=\"run_fails\"} 1";
    assert!(metrics.contains(count), "{metrics}");
    until(|| {
        let logged = sink.received("/api/2.0/mlflow/runs/log-batch");
        let metrics = logged.iter().flat_map(|batch| {
            batch.json()["metrics"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        });
        let found = metrics
            .filter(|metric| metric["key"] == "node.write.execution_time_ms")
            .find_map(|metric| metric["value"].as_f64());
        match found {
            Some(took) if took >= 20.0 => Ok(()),
            other => Err(other),
        }
    });
    server.signal("TERM");
    assert_eq!(end(server).0, Some(0));
}

/// Whoever reads the result need not wait for telemetry.
#[test]
fn the_result_of_a_run_is_out_before_a_hung_mlflow_is_waited_for() {
    let sink = Sink::start(Manner::Hang);
    let project = project("run_beside_a_hang");
    let output = project.root().join("output");
    let file = std::fs::File::create(&output).expect("a file");
    let words =
        crate::support::words("run workflow.yaml --offline --input topic=otters --format json");
    let ended = crate::support::flowmill(project.root(), words)
        .env("MLFLOW_TRACKING_URI", sink.url())
        .env("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        .stdout(file.try_clone().expect("the same file"))
        .stderr(file)
        .status()
        .expect("it runs");
    assert!(ended.success());
    let output = std::fs::read_to_string(output).expect("what was told");
    let result = output.find("\"status\"").expect("a result");
    let lost = output
        .find("some telemetry could not be sent")
        .expect("a warning");
    assert!(result < lost, "{output}");
}
