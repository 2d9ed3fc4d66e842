//! `flowmill serve`, over real sockets.

use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use crate::http::{call, client, get, post, start, start_with, until};
use crate::support::{GREETING, PATIENCE, greeting, run_in, words};

#[tokio::test]
async fn a_workflow_is_an_api() {
    let project = greeting();
    let mut server = start(&project, "greeting.yaml --offline");
    let url = server.url();
    let (status, answer) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    assert_eq!(status, 200);
    assert_eq!(answer["status"], json!("success"));
    assert_eq!(answer["outputs"]["name"], json!("Ada"));
    assert!(
        answer["usage"]["nodes"]["greet"]["model"]
            .as_str()
            .is_some_and(|model| model.starts_with("offline")),
        "{answer}"
    );
    assert_eq!(post(format!("{url}/run"), json!({})).await.0, 422);
    for path in [
        "/",
        "/health",
        "/health/live",
        "/health/ready",
        "/schema",
        "/openapi.json",
        "/docs",
    ] {
        assert_eq!(
            client()
                .get(format!("{url}{path}"))
                .send()
                .await
                .expect("an answer")
                .status(),
            200,
            "{path}"
        );
    }
}

#[test]
fn the_banner_names_the_model_and_a_request_that_works_when_pasted() {
    let project = TempProject::with_file(
        "odd.yaml",
        GREETING.replace(
            "name: {type: str, required: true}",
            "it's: {type: str, required: true, enum: [\"a'b\"]}\n    name: {type: str}",
        ),
    );
    let mut server = start(&project, "odd.yaml --offline");
    let url = server.url();
    server.line_with("offline: the built-in model");
    let line = server.line_with("curl ");
    assert!(line.contains(&url), "{line}");
    let output = Command::new("sh")
        .args(["-c", &format!("{line} --silent --fail")])
        .output()
        .expect("sh and curl are there");
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {line}\n{output:?}"));
    assert_eq!(answer["outputs"]["it's"], json!("a'b"), "{answer}");
}

#[tokio::test]
async fn a_slow_run_is_answered_with_a_handle_on_the_same_execution() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let model = FakeModel::answering(move |_| {
        released
            .lock()
            .expect("one call")
            .recv_timeout(PATIENCE)
            .expect("the test releases it");
        Reply::json(json!({"result": "slow"}))
    });
    let project = greeting();
    let mut server = start_with(&model, &project, "greeting.yaml --sync-timeout 50ms");
    let url = server.url();
    let (status, handle) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    assert_eq!(
        (status, &handle["status"]),
        (StatusCode::ACCEPTED, &json!("async"))
    );
    let job = handle["job_id"].as_str().expect("a handle").to_owned();
    let (_, running) = get(format!("{url}/status/{job}")).await;
    assert!(
        ["pending", "running"].contains(&running["status"].as_str().unwrap_or_default()),
        "{running}"
    );
    release.send(()).expect("the model waits");
    let (_, ended) = call(
        Method::GET,
        format!("{url}/status/{job}"),
        Some("wait=60"),
        None,
    )
    .await;
    assert_eq!(
        (&ended["status"], &ended["outputs"]["greeting"]),
        (&json!("completed"), &json!("slow"))
    );
    assert_eq!(model.calls(), 1);
}

#[tokio::test]
async fn sigterm_lets_runs_in_flight_finish() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let model = FakeModel::answering(move |_| {
        released
            .lock()
            .expect("one call")
            .recv_timeout(PATIENCE)
            .expect("the test releases it");
        Reply::json(json!({"result": "just in time"}))
    });
    let project = greeting();
    let mut server = start_with(&model, &project, "greeting.yaml");
    let url = server.url();
    let run = tokio::spawn(post(format!("{url}/run"), json!({"name": "Ada"})));
    until(|| model.calls() == 1).await;
    server.signal("TERM");
    server.line_with("stopping: ");
    assert_eq!(get(format!("{url}/health/ready")).await.0, 503);
    assert_eq!(
        post(format!("{url}/run"), json!({"name": "Bob"})).await.0,
        503
    );
    release.send(()).expect("the model waits");
    let (status, answer) = run.await.expect("no panic");
    assert_eq!(
        (status, &answer["outputs"]["greeting"]),
        (StatusCode::OK, &json!("just in time"))
    );
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let model = FakeModel::answering(|_| Reply::hang());
    let project = greeting();
    let mut server = start_with(&model, &project, "greeting.yaml --sync-timeout 50ms");
    let url = server.url();
    let (status, _) = model.block_on(post(format!("{url}/run"), json!({"name": "Ada"})));
    assert_eq!(status, 202);
    server.signal("INT");
    server.line_with("stopping: ");
    server.signal("INT");
    assert_eq!(server.end().0, Some(130));
}

#[test]
fn draining_has_an_end() {
    let model = FakeModel::answering(|_| Reply::hang());
    let project = greeting();
    let mut server = start_with(
        &model,
        &project,
        "greeting.yaml --sync-timeout 50ms --drain-timeout 100ms",
    );
    let url = server.url();
    assert_eq!(
        model
            .block_on(post(format!("{url}/run"), json!({"name": "Ada"})))
            .0,
        202
    );
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    model.block_on(model.disconnected(1));
}

#[tokio::test]
async fn a_changed_file_is_loaded_again_and_a_faulty_one_is_not() {
    let project = greeting();
    let mut server = start(&project, "greeting.yaml --offline --watch");
    let url = server.url();
    server.line_with("watching for changes");
    project.write(
        "greeting.yaml",
        GREETING.replace(
            "greeting: {type: str}",
            "greeting: {type: str}\n    mood: {type: str, default: fine}",
        ),
    );
    server.line_with("greeting.yaml changed: `greeting` was reloaded");
    let schema = get(format!("{url}/schema")).await.1;
    assert!(schema["inputs"]["mood"].is_object(), "{schema}");

    project.write("greeting.yaml", GREETING.replace("to: END", "to: DNE"));
    server.line_with("did you mean `END`?");
    server.line_with("greeting.yaml has errors; the previous version stays loaded");
    let (status, answer) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    assert_eq!(
        (status, &answer["outputs"]["mood"]),
        (StatusCode::OK, &json!("fine"))
    );

    project.write(
        "greeting.yaml",
        GREETING.replace("name: greeting}", "name: hello}"),
    );
    server.line_with("now called `hello`; `greeting` is no longer served");
    assert_eq!(
        get(format!("{url}/schema")).await.1["workflow"],
        json!("hello")
    );

    std::fs::remove_file(project.root().join("greeting.yaml")).expect("it is there");
    server.line_with(
        "greeting.yaml is missing or cannot be read; the last version of `hello` stays loaded",
    );
    let (status, _) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    assert_eq!(status, StatusCode::OK);
}

#[test]
fn the_request_at_the_start_has_inputs_that_exist() {
    let project = TempProject::new();
    let optional = GREETING.replace("{type: str, required: true}", "{type: str, default: you}");
    project.write("optional.yaml", &optional);
    let free = GREETING.replace("{type: str, required: true}", "{type: str}");
    project.write("free.yaml", free);
    let check = |file: &str, body: &str| {
        let mut server = start(&project, &format!("{file} --offline --store memory"));
        server.url();
        let line = server.line_with("curl -X POST");
        assert!(line.ends_with(&format!("-d '{body}'")), "{line}");
    };
    check("optional.yaml", r#"{"name":"you"}"#);
    check("free.yaml", r#"{"name":"example"}"#);
}

#[tokio::test]
async fn several_workflows_share_a_server() {
    let project = greeting();
    project.write(
        "other.yaml",
        GREETING.replace("name: greeting}", "name: my other}"),
    );
    let mut server = start(&project, "greeting.yaml other.yaml --offline");
    let url = server.url();
    server.line_with("/workflows/my%20other/run");
    let listed = get(format!("{url}/workflows")).await.1.to_string();
    assert!(
        listed.contains("greeting") && listed.contains("my other"),
        "{listed}"
    );
    for name in ["greeting", "my%20other"] {
        let (status, answer) = post(
            format!("{url}/workflows/{name}/run"),
            json!({"name": "Ada"}),
        )
        .await;
        assert_eq!(
            (status, &answer["outputs"]["name"]),
            (StatusCode::OK, &json!("Ada")),
            "{name}"
        );
    }
    assert_eq!(
        post(format!("{url}/run"), json!({"name": "Ada"})).await.0,
        404
    );
}

#[test]
fn a_server_that_could_not_work_does_not_start() {
    let project = greeting();
    project.write("twin.yaml", GREETING);
    project.write("bad.yaml", GREETING.replace("to: END", "to: DNE"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let check = |line: &str, code: i32, says: &[&str]| {
        run_in(project.root(), words(&format!("serve {line}")))
            .exits(code)
            .says(says);
    };
    check(
        "greeting.yaml --offline --host 0.0.0.0",
        2,
        &[
            "other machines can reach 0.0.0.0",
            "flowmill keys create",
            "FLOWMILL_API_KEYS",
            "--insecure",
        ],
    );
    check(
        "greeting.yaml twin.yaml --offline",
        3,
        &["greeting.yaml and twin.yaml both have the name `greeting`"],
    );
    check("bad.yaml --offline", 3, &["did you mean `END`?"]);
    project.write("worse.yaml", GREETING.replace("from: START", "from: STRAT"));
    check(
        "bad.yaml greeting.yaml absent.yaml worse.yaml --offline",
        4,
        &[
            "error: bad.yaml is not valid: 1 error",
            "`absent.yaml` does not exist",
            "error: worse.yaml is not valid: ",
            "did you mean `START`?",
        ],
    );
    check(
        "greeting.yaml --offline --job-lease 50ms",
        2,
        &["--job-lease must be at least 100 ms"],
    );
    check(
        "absent.yaml --offline",
        4,
        &["`absent.yaml` does not exist"],
    );
    check(
        "greeting.yaml --port 0 --model openai/test",
        5,
        &["OPENAI_API_KEY", "--offline"],
    );
    check(
        &format!("greeting.yaml --offline --port {port}"),
        4,
        &["cannot listen on", "choose another --port"],
    );
    check("greeting.yaml --offline --store sqlite", 2, &["memory"]);
}

#[tokio::test]
async fn an_open_address_can_be_insisted_on() {
    let project = greeting();
    let mut server = start(
        &project,
        "greeting.yaml --offline --host 0.0.0.0 --insecure",
    );
    let url = server.url();
    assert!(
        url.starts_with("http://127.0.0.1:"),
        "an address one can use: {url}"
    );
    assert_eq!(get(format!("{url}/health")).await.0, 200);
    assert!(server.said().contains("--insecure: anyone who can reach"));
}

#[tokio::test]
async fn limits_are_applied() {
    let project = greeting();
    let mut server = start(&project, "greeting.yaml --offline --body-limit 1kB");
    let url = server.url();
    assert_eq!(
        post(format!("{url}/run"), json!({"name": "x".repeat(2000)}))
            .await
            .0,
        413
    );
}

#[tokio::test]
async fn a_served_workflow_can_be_scripted_recorded_and_replayed() {
    let project = greeting();
    project.write(
        "replies.json",
        r#"{"greet": [{"result": "one"}, {"result": "two"}]}"#,
    );
    let mut server = start(&project, "greeting.yaml --replies replies.json");
    let url = server.url();
    for expected in ["one", "two"] {
        let (_, answer) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
        assert_eq!(answer["outputs"]["greeting"], json!(expected));
    }
    // A store has one server at a time.
    drop(server);
    let model = FakeModel::answering(|_| Reply::json(json!({"result": "recorded"})));
    let mut server = start_with(&model, &project, "greeting.yaml --record tape.jsonl");
    let url = server.url();
    post(format!("{url}/run"), json!({"name": "Ada"})).await;
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    let mut server = start(&project, "greeting.yaml --replay tape.jsonl");
    let url = server.url();
    let (_, answer) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    assert_eq!(answer["outputs"]["greeting"], json!("recorded"), "{answer}");
}

#[test]
fn log_lines_can_be_json() {
    let project = greeting();
    let mut server = start(
        &project,
        "greeting.yaml --offline --log-level debug --log-format json",
    );
    let url = server.url();
    let model = FakeModel::start();
    assert_eq!(
        model
            .block_on(post(format!("{url}/run"), json!({"name": "Ada"})))
            .0,
        200
    );
    let line = server.line_with("{\"timestamp\"");
    let entry: Value =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(
        entry["level"].is_string() && entry["message"].is_string(),
        "{entry}"
    );
}
