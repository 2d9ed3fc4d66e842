//! The password of the database, in all that a server and its commands say, write and send.

use serde_json::json;
use testing::postgres::{Options, Server};

use super::{run, with_store};
use crate::http::{client, get, post};
use crate::support::{Ended, Running, greeting};

/// In the password, and in nothing else.
const CANARY: &str = "canary";

#[tokio::test]
async fn the_password_is_shown_nowhere() {
    let password = format!("{CANARY}-0@1/2?3#4%5:6");
    let options = Options::default().without_fsync().with_password(&password);
    let Some(server) = Server::start(options) else {
        return;
    };
    let database = server.database();
    let (project, url) = (greeting(), database.url());
    let silent = |what: &str, text: &str| {
        assert!(!text.contains(CANARY), "{what}: {text}");
        assert!(
            !text.contains("0@1") && !text.contains("0%401"),
            "{what}: {text}"
        );
    };
    let line = "serve greeting.yaml --offline --port 0 --log-level trace --log-format json";
    let mut command = with_store(&project, &url, line);
    // The debugging output of libraries, too.
    let mut flowmill = Running::start(command.env("RUST_LOG", "trace"));
    let address = flowmill.url();
    let banner = flowmill.line_with("jobs are kept in");
    let shown = format!(
        "postgres://flowmill@{}/{}",
        server.address(),
        database.name()
    );
    assert!(banner.contains(&shown), "{banner}");

    post(format!("{address}/run"), json!({"name": "Ada"})).await;
    for path in ["metrics", "openapi.json", "health/ready", "jobs", "usage"] {
        let answer = client().get(format!("{address}/{path}")).send().await;
        silent(
            path,
            &answer.expect("an answer").text().await.expect("text"),
        );
    }
    for line in [
        "jobs list --store postgres",
        "keys list --store postgres --log-level trace",
        "replicas",
        "report runs --store postgres",
    ] {
        let ended = run(&project, &url, line);
        silent(line, &(ended.stdout + &ended.stderr));
    }
    for line in [
        "serve --help",
        "jobs --help",
        "deploy --help",
        "replicas --help",
    ] {
        let ended = run(&project, &url, line);
        silent(line, &(ended.stdout + &ended.stderr));
    }
    // Its faults: those of a running server, and those at a start.
    server.stop_immediate();
    let (status, answer) = get(format!("{address}/health/ready")).await;
    silent("health", &answer.to_string());
    let (_, answer) = post(
        format!("{address}/jobs"),
        json!({"inputs": {"name": "Ada"}}),
    )
    .await;
    silent("a refusal", &format!("{status} {answer}"));
    let line = "serve greeting.yaml --offline --port 0";
    let ended = Ended::of(&mut with_store(&project, &url, line)).exits(4);
    silent("a start", &ended.stderr);
    let said = flowmill.said();
    assert!(said.contains("database"), "{said}");
    silent("the log", &said);
}

#[test]
fn the_package_of_a_deployment_has_no_password() {
    let project = greeting();
    let url = "postgres://me:canary@db.internal/jobs";
    project.write(".env", format!("FLOWMILL_STORE={url}\n"));
    project.write("url", url);
    for options in [
        "--store postgres",
        "--store-file url --replicas 3",
        "--store postgres://me:canary@db.internal/jobs",
    ] {
        let line = format!("deploy greeting.yaml --offline --generate --format json {options}");
        let ended = run(&project, url, &line);
        assert!(
            !(ended.stdout + &ended.stderr).contains(CANARY),
            "{options}"
        );
        let mut files = 0;
        for entry in std::fs::read_dir(project.path("deploy")).expect("a package") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                let text = std::fs::read(&path).expect("readable");
                let text = String::from_utf8_lossy(&text);
                assert!(!text.contains(CANARY), "{options}: {}", path.display());
                files += 1;
            }
        }
        assert!(files > 8, "{files} files");
    }
}
