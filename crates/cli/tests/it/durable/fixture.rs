//! A project whose server is killed and started again, and the model that it asks.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use testing::{FakeModel, Reply, Request, TempProject};

use crate::http::{client, get, start_as};
use crate::support::Running;

/// Three nodes, one of them for each of two items: four calls a run, whose prompts name run and node.
pub(super) const STORY: &str = r#"
schema_version: "1.0"
flow: {name: story}
state:
  fields:
    n: {type: int, required: true}
    plan: {type: str}
    items: {type: "list[str]", default: [left, right]}
    part: {type: str}
    parts: {type: "list[str]", default: []}
    end: {type: str}
nodes:
  - {id: plan, prompt: "plan of {n}", output_schema: {type: str}, outputs: [plan]}
  - {id: tell, prompt: "part {_parallel_item} of {n}", output_schema: {type: str}, outputs: [part]}
  - {id: end, prompt: "end of {n}", output_schema: {type: str}, outputs: [end]}
edges:
  - {from: START, to: plan}
  - {from: plan, parallel: {items_field: items, target_node: tell, collect_field: parts}}
  - {from: tell, to: end}
  - {from: end, to: END}
"#;

/// The prompts of one run.
pub(super) fn prompts(n: u64) -> [String; 4] {
    [
        format!("plan of {n}"),
        format!("part left of {n}"),
        format!("part right of {n}"),
        format!("end of {n}"),
    ]
}

/// A project with the file `story.yaml`, and its model.
pub(super) struct Rig {
    pub(super) project: TempProject,
    pub(super) model: FakeModel,
    /// While it is shut, calls get no answer.
    gate: Arc<AtomicBool>,
    /// Servers started so far.
    lives: AtomicUsize,
}

impl Rig {
    /// The model says `ok` to everything, at once.
    pub(super) fn new() -> Self {
        Self::answering(|_| Reply::json(json!({"result": "ok"})))
    }

    pub(super) fn answering(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let gate = Arc::new(AtomicBool::new(true));
        let is_open = gate.clone();
        Self {
            project: TempProject::with_file("story.yaml", STORY),
            model: FakeModel::answering(move |request| {
                if is_open.load(Ordering::SeqCst) {
                    answer(request)
                } else {
                    Reply::hang()
                }
            }),
            gate,
            lives: AtomicUsize::new(0),
        }
    }

    /// From now on calls hang.
    pub(super) fn shut(&self) {
        self.gate.store(false, Ordering::SeqCst);
    }

    /// From now on calls are answered; those that hang go on hanging.
    pub(super) fn open(&self) {
        self.gate.store(true, Ordering::SeqCst);
    }

    /// Starts the server on the project's store. Its model key tells which life of the server it is.
    pub(super) fn serve(&self, options: &str) -> Server {
        let life = self.lives.fetch_add(1, Ordering::SeqCst);
        let mut process = start_as(
            &format!("life-{life}"),
            &self.model,
            &self.project,
            &format!("story.yaml {options}"),
        );
        let url = process.url();
        Server {
            process,
            url,
            client: client(),
        }
    }

    /// The store's file.
    pub(super) fn file(&self) -> PathBuf {
        self.project.path("flowmill.db")
    }

    /// How often each prompt was asked.
    pub(super) fn asked(&self) -> HashMap<String, usize> {
        let mut asked = HashMap::new();
        for request in self.model.requests() {
            *asked.entry(request.prompt().to_owned()).or_default() += 1;
        }
        asked
    }

    /// Fails unless SQLite finds the file sound. The server must have ended.
    #[track_caller]
    pub(super) fn is_sound(&self) {
        let connection = rusqlite::Connection::open(self.file()).expect("a database");
        let verdict: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("it can be read");
        assert_eq!(verdict, "ok");
        let lost: i64 = connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
                row.get(0)
            })
            .expect("it can be read");
        assert_eq!(lost, 0, "rows of jobs that are not there");
    }
}

/// A running server. Killed, as by `kill -9`, on drop.
pub(super) struct Server {
    pub(super) process: Running,
    pub(super) url: String,
    pub(super) client: Client,
}

impl Server {
    /// `kill -9`.
    pub(super) fn kill(self) {
        drop(self);
    }

    /// Submits run `n` with a key of its own; `None` where the server is gone.
    pub(super) async fn try_submit(&self, n: u64) -> Option<String> {
        let response = self
            .client
            .post(format!("{}/jobs", self.url))
            .header("idempotency-key", format!("key-{n}"))
            .json(&json!({"inputs": {"n": n}}))
            .send()
            .await
            .ok()?;
        assert_eq!(response.status(), 202);
        let handle: Value = response.json().await.ok()?;
        Some(handle["job_id"].as_str().expect("an id").to_owned())
    }

    /// Submits a run.
    pub(super) async fn submit(&self, n: u64) -> String {
        self.try_submit(n).await.expect("the server is there")
    }

    /// Submits many, some at a time.
    pub(super) async fn submit_all(&self, runs: impl IntoIterator<Item = u64>) -> Vec<String> {
        let runs: Vec<u64> = runs.into_iter().collect();
        let mut ids = Vec::new();
        for some in runs.chunks(50) {
            ids.extend(join_all(some.iter().map(|n| self.submit(*n))).await);
        }
        ids
    }

    /// Waits for a job's end, and returns it.
    pub(super) async fn ended(&self, id: &str) -> Value {
        let request = self
            .client
            .get(format!("{}/jobs/{id}", self.url))
            .header("prefer", "wait=60");
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        let job: Value = response.json().await.expect("JSON");
        assert!(job["completed_at"].is_string(), "it goes on: {job}");
        job
    }

    /// Waits for the end of each, which must be completion.
    pub(super) async fn all_complete(&self, ids: &[String]) {
        for id in ids {
            let job = self.ended(id).await;
            assert_eq!(job["status"], json!("completed"), "{job}");
        }
    }

    /// A job as it stands.
    pub(super) async fn job(&self, id: &str) -> Value {
        get(format!("{}/jobs/{id}", self.url)).await.1
    }

    /// How many jobs there are.
    pub(super) async fn count_jobs(&self) -> usize {
        let mut count = 0;
        let mut query = "limit=200".to_owned();
        loop {
            let page = get(format!("{}/jobs?{query}", self.url)).await.1;
            count += page["jobs"].as_array().expect("a page").len();
            match page["next_cursor"].as_str() {
                Some(cursor) => query = format!("limit=200&cursor={cursor}"),
                None => return count,
            }
        }
    }
}
