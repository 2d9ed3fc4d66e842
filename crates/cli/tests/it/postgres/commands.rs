//! Commands that open the database of running servers.

use std::time::Duration;

use serde_json::{Value, json};
use testing::{FakeModel, Reply, postgres};

use super::{run, start, with_store};
use crate::http::{self, client, get, post};
use crate::support::{Ended, PATIENCE, Running, greeting, words};

/// A server whose runs ask a model.
fn start_with(model: &FakeModel, project: &testing::TempProject, url: &str) -> (Running, String) {
    let mut command = http::serve(project, "greeting.yaml");
    http::ask("none", model, &mut command).env("FLOWMILL_STORE", url);
    let mut server = Running::start(&mut command);
    let address = server.url();
    (server, address)
}

fn id(answer: &Value) -> String {
    answer["job_id"].as_str().expect("an id").to_owned()
}

/// The replicas, once there are that many.
async fn replicas(project: &testing::TempProject, url: &str, number: usize) -> Vec<Value> {
    let waiting = async {
        loop {
            let listed = run(project, url, "replicas --format json").json();
            let replicas = listed["replicas"].as_array().expect("a list").clone();
            if replicas.len() == number {
                return replicas;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("there are never {number} replicas"))
}

#[tokio::test]
async fn jobs_are_the_same_at_every_server_and_in_the_database() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (project, store) = (greeting(), database.url());
    let (_one, first) = start(&project, &store, "");
    let (_two, second) = start(&project, &store, "");
    let mut ids = Vec::new();
    for (server, name) in [(&first, "Ada"), (&second, "Bob"), (&first, "Cy")] {
        let (status, answer) = post(format!("{server}/run"), json!({"name": name})).await;
        assert_eq!(status, 200, "{answer}");
        ids.push(id(&answer));
    }
    for line in [
        "list --format json".to_owned(),
        "list --format json --limit 2".to_owned(),
        format!("show {} --format json", ids[0]),
        format!("events {} --format json", ids[1]),
        format!("events {} --follow", ids[2]),
    ] {
        let of = |options: &str| run(&project, &store, &format!("jobs {line} {options}")).stdout;
        let direct = of("--store postgres");
        assert!(
            direct.contains(&ids[2]) || !line.starts_with("list"),
            "{direct}"
        );
        assert_eq!(direct, of(&format!("--server {first}")), "{line}");
        assert_eq!(direct, of(&format!("--server {second}")), "{line}");
    }
    run(
        &project,
        &store,
        &format!("jobs delete {} --store postgres", ids[0]),
    );
    let (status, _) = get(format!("{second}/jobs/{}", ids[0])).await;
    assert_eq!(status, 404);
    let report = run(
        &project,
        &store,
        "report runs --store postgres --format json",
    )
    .json();
    assert_eq!(report["total"]["runs"], 2, "{report}");
}

#[tokio::test]
async fn a_cancel_in_the_database_reaches_the_server_that_runs_the_job() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (project, store) = (greeting(), database.url());
    let model = FakeModel::answering(|_| Reply::hang());
    let (_server, address) = start_with(&model, &project, &store);
    let (_, answer) = post(
        format!("{address}/jobs"),
        json!({"inputs": {"name": "Ada"}}),
    )
    .await;
    let id = id(&answer);
    model.called(1).await;
    let line = format!("jobs cancel {id} --store postgres");
    let said = run(&project, &store, &line).stdout;
    assert!(said.contains("is being cancelled"), "{said}");
    // Follows until the run has ended.
    let events = run(
        &project,
        &store,
        &format!("jobs events {id} --follow --store postgres"),
    );
    assert!(events.stdout.contains("run_cancelled"), "{}", events.stdout);
    let job = run(
        &project,
        &store,
        &format!("jobs show {id} --format json --store postgres"),
    );
    assert_eq!(job.json()["status"], "cancelled");
}

#[tokio::test]
async fn keys_are_made_and_revoked_while_servers_run() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (project, store) = (greeting(), database.url());
    let line = "keys create --name first --scope admin --store postgres";
    let first = run(&project, &store, line).stdout;
    let (_server, address) = start(&project, &store, "");
    let ask = |key: String| {
        let request = client()
            .get(format!("{address}/jobs"))
            .bearer_auth(key.trim());
        async move { request.send().await.expect("an answer").status() }
    };
    assert_eq!(ask(first).await, 200);
    let second = run(
        &project,
        &store,
        "keys create --name second --store postgres",
    )
    .stdout;
    let known = async {
        while ask(second.clone()).await != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        run(&project, &store, "keys revoke second --store postgres");
        while ask(second.clone()).await == 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let known = tokio::time::timeout(PATIENCE, known).await;
    assert!(known.is_ok(), "the server does not learn of the key");
    let keys = run(&project, &store, "keys list --store postgres --format json").json();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2), "{keys}");
    let report = "report runs --by key --store postgres --format json";
    run(&project, &store, report);
}

/// What all servers together have let a key spend.
#[tokio::test]
async fn the_usage_of_a_key_at_all_servers_is_read_from_the_database() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (project, store) = (greeting(), database.url());
    let line = "keys create --name shop --store postgres --tokens-per-day 100000";
    let key = run(&project, &store, line).stdout;
    let mut unknown = with_store(&project, &store, "keys usage nobody --store postgres");
    Ended::of(&mut unknown).exits(1).says(&["there is no key"]);
    let model = FakeModel::answering(|_| Reply::json(json!({"result": "Hi"})).usage(14, 22));
    let servers = [0, 1].map(|_| start_with(&model, &project, &store));
    for (_, address) in &servers {
        let request = client()
            .post(format!("{address}/run"))
            .bearer_auth(key.trim())
            .json(&json!({"name": "Ada"}));
        let status = request.send().await.expect("an answer").status();
        assert_eq!(status, 200);
    }
    let usage = || {
        run(
            &project,
            &store,
            "keys usage shop --store postgres --format json",
        )
        .json()
    };
    let stored = async {
        while usage()["keys"][0]["today"]["model_calls"] != 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let stored = tokio::time::timeout(PATIENCE, stored).await;
    assert!(stored.is_ok(), "{}", usage());
    let usage = usage();
    assert_eq!(usage["keys"][0]["name"], "shop", "{usage}");
    let table = run(&project, &store, "keys usage --store postgres").stdout;
    assert!(table.contains("shop"), "{table}");
}

#[tokio::test]
async fn replicas_are_listed_while_they_live_with_what_they_run() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (project, store) = (greeting(), database.url());
    let model = FakeModel::answering(|_| Reply::hang());
    let (one, first) = start_with(&model, &project, &store);
    let (_two, _) = start(&project, &store, "--replica-name other");
    replicas(&project, &store, 2).await;
    post(format!("{first}/jobs"), json!({"inputs": {"name": "Ada"}})).await;
    model.called(1).await;
    let listed = replicas(&project, &store, 2).await;
    let named = |is_meant: &dyn Fn(&str) -> bool| {
        let name = |replica: &&Value| is_meant(replica["name"].as_str().expect("a name"));
        listed.iter().find(name).expect("it is there").clone()
    };
    let running = named(&|name| name.ends_with(&format!(":{}", one.id())));
    assert_eq!(running["running"], 1, "{running}");
    assert_eq!(running["draining"], false);
    assert_eq!(running["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        running["lease_until"].is_string() && running["id"].is_string(),
        "{running}"
    );
    assert_eq!(named(&|name| name == "other")["running"], 0);
    let table = run(&project, &store, "replicas").stdout;
    assert!(
        table.starts_with("NAME") && table.contains("other  "),
        "{table}"
    );
    one.signal("KILL");
    drop(one);
    // A server that ends leaves at once; a killed one is listed until its lease has ended.
    assert_eq!(replicas(&project, &store, 2).await.len(), 2);
}

#[tokio::test]
async fn a_replica_that_stops_is_draining_and_then_gone() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (project, store) = (greeting(), database.url());
    let model = FakeModel::answering(|_| Reply::hang());
    let mut command = http::serve(&project, "greeting.yaml --drain-timeout 30s --job-lease 3s");
    http::ask("none", &model, &mut command).env("FLOWMILL_STORE", &store);
    let mut server = Running::start(&mut command);
    let address = server.url();
    post(
        format!("{address}/jobs"),
        json!({"inputs": {"name": "Ada"}}),
    )
    .await;
    model.called(1).await;
    server.signal("TERM");
    server.line_with("running jobs may finish");
    let draining = async {
        while replicas(&project, &store, 1).await[0]["draining"] != true {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, draining)
        .await
        .expect("its beats say that it drains");
    server.signal("TERM");
    let (code, _) = server.end();
    assert_eq!(code, Some(130));
}

#[test]
fn what_cannot_be_asked_of_a_store_says_so() {
    let project = greeting();
    let check = |line: &str, code: i32, texts: &[&str]| {
        let url = "postgres://me:canary@127.0.0.1:1/db";
        let ended = Ended::of(&mut with_store(&project, url, line))
            .exits(code)
            .says(texts);
        assert!(!ended.stderr.contains("canary"), "{line}: {}", ended.stderr);
    };
    check(
        "replicas --store sqlite:a.db",
        2,
        &["belongs to one server alone"],
    );
    check(
        "replicas --store memory",
        2,
        &["belongs to one server alone"],
    );
    check(
        "jobs list --store redis://:canary@h",
        2,
        &["not supported as job stores yet"],
    );
    check(
        "jobs list --store postgres --server http://127.0.0.1:1",
        2,
        &["--server and --store exclude each other"],
    );
    check(
        "jobs list --store sqlite:a.db --store-file url",
        2,
        &["--store and --store-file exclude each other"],
    );
    project.write("url", "postgres://me:canary@127.0.0.1:1/db\n");
    check("jobs list --store-file url", 4, &["127.0.0.1:1"]);
    check("replicas --store-file url", 4, &["127.0.0.1:1"]);
    let warning = "`ps` shows it to every user of this machine";
    check(
        "jobs list --store postgres://me:canary@127.0.0.1:1/db",
        4,
        &[warning],
    );
    let said = Ended::of(&mut with_store(&project, "", "jobs list --store-file url")).stderr;
    assert!(!said.contains(warning), "{said}");
    let listen = words("--store-listen-url postgres://me:canary@h/db");
    let mut command = http::serve(&project, "greeting.yaml --offline --store memory");
    Ended::of(command.args(listen))
        .exits(2)
        .says(&["--store-listen-url is for a PostgreSQL store"]);
}
