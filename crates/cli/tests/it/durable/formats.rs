//! Store files that earlier versions wrote (`tests/stores/`): this one opens them and finishes
//! their jobs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reqwest::{Client, Method, RequestBuilder};
use rusqlite::Connection;
use serde_json::{Value, json};
use testing::{FakeModel, Receiver, Reply, TempProject};

use super::fixture::{Rig, now, prompts};
use crate::http::{client, start, start_with};
use crate::support::Running;

/// The first format that has a file.
const FIRST: u32 = 4;

fn stores() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores")
}

/// The format of a store that this version makes.
fn present_format() -> u32 {
    let project = TempProject::with_file("story.yaml", super::fixture::STORY);
    let mut server = start(&project, "story.yaml --offline");
    server.url();
    let connection = Connection::open(project.path("flowmill.db")).expect("a database");
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("a number")
}

#[test]
fn every_former_format_of_the_store_has_a_file() {
    let missing: Vec<u32> = (FIRST..present_format())
        .filter(|format| !stores().join(format!("format-{format}.sqlite")).is_file())
        .collect();
    assert!(
        missing.is_empty(),
        "no file of format {missing:?}; build the commit before the schema changed, and let \
         crates/cli/tests/stores/make.py write one with it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_file_of_every_former_format_opens_and_its_waiting_jobs_finish() {
    for format in FIRST..=present_format() {
        if stores().join(format!("format-{format}.sqlite")).is_file() {
            finishes(format).await;
        }
    }
}

async fn finishes(format: u32) {
    let receiver = Receiver::start();
    let model = FakeModel::answering(|_| Reply::json(json!({"result": "ok"})));
    let written = Written::copy(format, &receiver);
    let (server, url) = written.serve(&model);
    for ended in ["completed", "failed", "cancelled"] {
        let job = written.job(&url, ended).await;
        assert_eq!(job["status"], json!(ended), "format {format}: {job}");
    }
    for (name, n) in [
        ("running_on", 4),
        ("running_anew", 5),
        ("waiting", 6),
        ("retried", 2),
    ] {
        let job = written.job(&url, name).await;
        assert_eq!(
            job["outputs"],
            json!({
                "n": n, "plan": "ok", "items": ["left", "right"], "part": "ok",
                "parts": ["ok", "ok"], "end": "ok",
            }),
            "format {format}, {name}: {job}"
        );
    }
    let asked: BTreeSet<String> = model
        .requests()
        .iter()
        .map(|request| request.prompt().to_owned())
        .collect();
    let again = prompts(5).into_iter().chain(prompts(6));
    let expected: BTreeSet<String> = ["part right of 4", "end of 4", "end of 2"]
        .map(str::to_owned)
        .into_iter()
        .chain(again)
        .collect();
    assert_eq!(asked, expected, "format {format}");
    assert_eq!(model.calls(), expected.len(), "nothing is asked twice");

    let told: BTreeSet<String> = receiver
        .got(3)
        .await
        .iter()
        .map(|message| message.header("webhook-id").to_owned())
        .collect();
    let owed: BTreeSet<String> = ["completed", "running_on", "waiting"]
        .map(|name| format!("msg_{}", written.id(name)))
        .into();
    assert_eq!(told, owed, "format {format}");

    for (name, n) in [("completed", 1), ("failed", 2), ("running_on", 4)] {
        let repeated = written
            .request(Method::POST, &format!("{url}/jobs"))
            .header("idempotency-key", format!("key-{n}"))
            .json(&json!({"inputs": {"n": n}}))
            .send()
            .await
            .expect("an answer");
        let answer: Value = repeated.json().await.expect("JSON");
        assert_eq!(
            answer["job_id"],
            json!(written.id(name)),
            "format {format}: {answer}"
        );
    }
    drop(server);
    Rig::is_sound_at(&written.project.path("flowmill.db"));
}

/// A copy of one of the files, as if its server had just been killed.
struct Written {
    project: TempProject,
    client: Client,
    /// What `make.py` says of it.
    facts: Value,
}

impl Written {
    fn copy(format: u32, receiver: &Receiver) -> Self {
        let read = |name: &str| std::fs::read(stores().join(name)).expect("the fixture is there");
        let project = TempProject::with_file("story.yaml", read("story.yaml"));
        let file = project.write("flowmill.db", read(&format!("format-{format}.sqlite")));
        let connection = Connection::open(file).expect("a database");
        let written_at: i64 = connection
            .query_row("SELECT max(created_at) FROM jobs", [], |row| row.get(0))
            .expect("there are jobs");
        let ago = now() - written_at;
        for sql in [
            "UPDATE jobs SET completed_at = completed_at + ?1",
            "UPDATE webhooks SET due_at = due_at + ?1",
            "UPDATE idempotency_keys SET used_at = used_at + ?1",
        ] {
            connection.execute(sql, [ago]).expect("it can be written");
        }
        connection
            .execute(
                "UPDATE webhooks SET url = ?1, shown = ?1, host = ?2",
                [receiver.url(), receiver.address().to_string()],
            )
            .expect("it can be written");
        Self {
            project,
            client: client(),
            facts: serde_json::from_slice(&read(&format!("format-{format}.json"))).expect("JSON"),
        }
    }

    fn serve(&self, model: &FakeModel) -> (Running, String) {
        let line = "story.yaml --webhook-allow 127.0.0.1";
        let mut server = start_with(model, &self.project, line);
        let url = server.url();
        (server, url)
    }

    fn id(&self, name: &str) -> &str {
        self.facts["jobs"][name].as_str().expect("an id")
    }

    fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let key = self.facts["key"].as_str().expect("a key");
        self.client.request(method, url).bearer_auth(key)
    }

    /// A job once it has ended.
    async fn job(&self, url: &str, name: &str) -> Value {
        let request = self
            .request(Method::GET, &format!("{url}/jobs/{}", self.id(name)))
            .header("prefer", "wait=60");
        let response = request.send().await.expect("an answer");
        response.json().await.expect("JSON")
    }
}
