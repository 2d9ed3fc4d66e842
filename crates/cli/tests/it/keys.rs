//! API keys from the first one on: made in a store file, wanted by its server, managed through it.

use reqwest::StatusCode;
use serde_json::{Value, json};
use testing::TempProject;

use crate::http::{client, serve};
use crate::support::{Ended, Running, flowmill, greeting, run_in, words};

/// `flowmill LINE` with that key in its environment.
fn with_key(project: &TempProject, key: &str, line: &str) -> Ended {
    Ended::of(flowmill(project.root(), words(line)).env("FLOWMILL_API_KEY", key))
}

/// A key made in the store file.
fn first_key(project: &TempProject, options: &str) -> String {
    let line = format!("keys create --name first --store sqlite:flowmill.db {options}");
    let ended = run_in(project.root(), words(&line))
        .exits(0)
        .says(&["not shown again"]);
    let key = ended.stdout.trim_end().to_owned();
    assert!(
        key.starts_with("fm_") && !key.contains(char::is_whitespace),
        "{key}"
    );
    assert!(!ended.stderr.contains(&key));
    key
}

async fn run(url: &str, key: Option<&str>) -> (StatusCode, Value) {
    let mut request = client()
        .post(format!("{url}/run"))
        .json(&json!({"name": "Ada"}));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.unwrap_or_default())
}

fn secret(key: &str) -> &str {
    key.splitn(3, '_').nth(2).expect("a secret")
}

#[tokio::test]
async fn from_the_first_key_to_the_last() {
    let project = greeting();
    let admin = first_key(&project, "--scope admin");
    // Others may reach it: it has a key.
    let mut command = serve(
        &project,
        "greeting.yaml --offline --host 0.0.0.0 --log-level trace",
    );
    let mut server = Running::start(&mut command);
    let url = server.url();

    let (status, answer) = run(&url, None).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (401, &json!("unauthorized"))
    );
    assert_eq!(run(&url, Some(&admin)).await.0, 200);
    run_in(project.root(), words(&format!("jobs list --server {url}")))
        .exits(1)
        .says(&["API key", "FLOWMILL_API_KEY"]);
    let listed = with_key(
        &project,
        &admin,
        &format!("jobs list --format json --server {url}"),
    )
    .exits(0);
    assert_eq!(listed.json()["jobs"].as_array().map(Vec::len), Some(1));
    with_key(&project, &admin, &format!("report runs --server {url}")).exits(0);

    // The server holds the file; keys are made through it.
    run_in(
        project.root(),
        words("keys list --store sqlite:flowmill.db"),
    )
    .exits(4)
    .says(&["--server URL", "FLOWMILL_API_KEY"]);
    let line = format!(
        "keys create --name shop --workflow greeting --expires 90d --format json --server {url}"
    );
    let made = with_key(&project, &admin, &line).exits(0).json();
    assert_eq!(made.get("warnings"), None);
    with_key(
        &project,
        &admin,
        &format!("keys create --name typo --workflow greting --server {url}"),
    )
    .exits(0)
    .says(&["warning: this server serves no workflow `greting`"]);
    let (id, shop) = (
        made["id"].as_str().expect("an id"),
        made["key"].as_str().expect("a key"),
    );
    let (status, answer) = run(&url, Some(shop)).await;
    assert_eq!(status, 200);
    let job = answer["job_id"].as_str().expect("a job").to_owned();
    with_key(&project, shop, &format!("keys list --server {url}"))
        .exits(1)
        .says(&["the scope `admin`"]);

    let rotated = with_key(
        &project,
        &admin,
        &format!("keys rotate shop --server {url}"),
    )
    .exits(0);
    let rotated = rotated.stdout.trim_end();
    assert_eq!(run(&url, Some(shop)).await.0, 401);
    assert_eq!(run(&url, Some(rotated)).await.0, 200);
    // What the old secret made is the key's still.
    with_key(
        &project,
        rotated,
        &format!("jobs show {job} --server {url}"),
    )
    .exits(0);
    // Its own usage, which it may see without seeing other keys.
    let usage = with_key(
        &project,
        rotated,
        &format!("keys usage {id} --server {url}"),
    );
    assert!(
        usage.exits(0).stdout.contains(&format!("{id}  shop")),
        "the name"
    );
    let usage = with_key(
        &project,
        &admin,
        &format!("keys usage shop --server {url} --format json"),
    );
    assert_eq!(usage.exits(0).json()["keys"][0]["key"], json!(id));
    with_key(
        &project,
        &admin,
        &format!("keys revoke {id} --server {url}"),
    )
    .exits(0);
    assert_eq!(run(&url, Some(rotated)).await.0, 401);
    with_key(
        &project,
        &admin,
        &format!("keys revoke {id} --server {url}"),
    )
    .exits(1)
    .says(&["revoked"]);

    server.signal("TERM");
    let said = server.ended();
    assert_eq!(said.code, Some(0));
    let listed = run_in(
        project.root(),
        words("keys list --store sqlite:flowmill.db"),
    )
    .exits(0);
    assert!(
        listed.stdout.contains("shop   revoked  run,read  greeting"),
        "{}",
        listed.stdout
    );
    let listed = run_in(
        project.root(),
        words("keys list --store sqlite:flowmill.db --format json"),
    )
    .exits(0);
    assert!(
        listed.json()["keys"][0]["last_used_at"].is_string(),
        "{}",
        listed.stdout
    );
    let by_key = run_in(
        project.root(),
        words("report runs --by key --store sqlite:flowmill.db"),
    )
    .exits(0);
    assert!(
        by_key.stdout.contains(&format!("shop ({id})")),
        "{}",
        by_key.stdout
    );
    let store = "--store sqlite:flowmill.db";
    for _ in 0..2 {
        run_in(
            project.root(),
            words(&format!("keys create --name twin {store}")),
        )
        .exits(0);
    }
    run_in(project.root(), words(&format!("keys rotate twin {store}")))
        .exits(2)
        .says(&["2 keys have the name `twin`", "by its id"]);
    let mut again = Running::start(&mut serve(&project, "greeting.yaml --offline"));
    again.line_with("an API key is restricted to a workflow that this server does not have");
    drop(again);

    // Nowhere but where they were made.
    let file = std::fs::read(project.root().join("flowmill.db")).expect("the store");
    for key in [&*admin, shop, rotated] {
        let secret = secret(key);
        assert!(!said.stderr.contains(secret), "{}", said.stderr);
        assert!(!listed.stdout.contains(secret));
        assert!(
            !file
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
        );
    }
}

#[tokio::test]
async fn a_list_in_the_environment_will_do() {
    let project = greeting();
    let key = format!("fm_ci_{}", "c0ffee00".repeat(4));
    let mut command = serve(
        &project,
        "greeting.yaml --offline --store memory --host 0.0.0.0",
    );
    let mut server = Running::start(command.env("FLOWMILL_API_KEYS", format!("{key}:run")));
    let url = server.url();
    assert_eq!(run(&url, Some(&key)).await.0, 200);
    assert_eq!(run(&url, None).await.0, 401);
    with_key(&project, &key, &format!("jobs list --server {url}"))
        .exits(1)
        .says(&["the scope `read`"]);
    assert!(!server.said().contains(secret(&key)));
}

#[test]
fn mistakes_name_the_way_out_and_no_key() {
    let project = greeting();
    let check = |line: &str, variable: (&str, &str), code: i32, says: &[&str]| {
        let mut command = flowmill(project.root(), words(line));
        let ended = Ended::of(command.env(variable.0, variable.1))
            .exits(code)
            .says(says);
        assert!(!ended.stderr.contains("letmein"), "{}", ended.stderr);
    };
    let none = ("FLOWMILL_X", "");
    check(
        "serve greeting.yaml --offline",
        ("FLOWMILL_API_KEYS", "fm_ci_letmein"),
        2,
        &["FLOWMILL_API_KEYS", "key 1: `ci`"],
    );
    check(
        "jobs list",
        ("FLOWMILL_API_KEY", "let\tmein\nletmein"),
        2,
        &["FLOWMILL_API_KEY"],
    );
    check("keys list --store memory", none, 2, &["FLOWMILL_API_KEYS"]);
    check(
        "keys list --store sqlite:absent.db",
        none,
        4,
        &["does not exist"],
    );
    check(
        "keys create --name x --scope write --store sqlite:a.db",
        none,
        2,
        &["run, read, metrics and admin"],
    );
    check(
        "keys create --name x --expires soon --store sqlite:a.db",
        none,
        2,
        &["90d"],
    );
    check(
        "keys create --name x --scope admin --workflow greeting --store sqlite:a.db",
        none,
        2,
        &["cannot be restricted"],
    );
    check(
        "keys create --name x --expires 2001-01-01T00:00:00Z --store sqlite:a.db",
        none,
        2,
        &["in the future"],
    );
    check(
        "keys revoke none --store sqlite:a.db",
        none,
        1,
        &["no key with that id"],
    );
}

#[test]
fn a_revoked_key_does_not_open_the_server_to_everyone() {
    let project = greeting();
    first_key(&project, "");
    let store = "--store sqlite:flowmill.db";
    let listed = run_in(
        project.root(),
        words(&format!("keys list --format json {store}")),
    )
    .exits(0)
    .json();
    let id = listed["keys"][0]["id"].as_str().expect("an id").to_owned();
    run_in(project.root(), words(&format!("keys revoke {id} {store}"))).exits(0);
    let mut server = Running::start(&mut serve(&project, "greeting.yaml --offline"));
    let url = server.url();
    let status = tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(run(&url, None))
        .0;
    assert_eq!(status, 401);
}
