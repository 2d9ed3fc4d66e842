//! A project whose server is killed and started again, and the model that it asks.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use reqwest::Client;
use rusqlite::Connection;
use serde_json::{Value, json};
use testing::{FakeModel, Reply, Request, TempProject};

use crate::http::{ask, client, serve};
use crate::support::Running;

/// Three nodes, one of them for each of two items: four calls a run, whose prompts name run and
/// node.
pub(crate) const STORY: &str = r#"
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
pub(crate) fn prompts(n: u64) -> [String; 4] {
    [
        format!("plan of {n}"),
        format!("part left of {n}"),
        format!("part right of {n}"),
        format!("end of {n}"),
    ]
}

/// Fails if a node was asked again when what follows it had been asked already, which shows that it
/// had completed.
#[track_caller]
pub(crate) fn nothing_completed_was_asked_again(
    asked: &[Request],
    runs: impl IntoIterator<Item = u64>,
) {
    // The first and the last time of each.
    let mut times: HashMap<&str, (usize, usize)> = HashMap::new();
    for (time, request) in asked.iter().enumerate() {
        let seen = times.entry(request.prompt()).or_insert((time, time));
        seen.1 = time;
    }
    let of = |prompt: &str| {
        let seen = times.get(prompt);
        seen.unwrap_or_else(|| panic!("`{prompt}` was never asked"))
    };
    for n in runs {
        let [plan, left, right, end] = prompts(n);
        for (node, next) in [
            (&plan, &left),
            (&plan, &right),
            (&left, &end),
            (&right, &end),
        ] {
            assert!(
                of(node).1 < of(next).0,
                "`{node}` was asked again after `{next}`"
            );
        }
    }
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

    /// Starts the server on the project's store. Its model key tells which life of the server it
    /// is.
    pub(super) fn serve(&self, options: &str) -> Server {
        self.started(&mut serve(&self.project, &format!("story.yaml {options}")))
    }

    /// Starts a server by a command of its own.
    pub(super) fn started(&self, command: &mut Command) -> Server {
        let mut process = self.spawned(command);
        let url = process.url();
        Server::at(process, url)
    }

    /// As [`started`](Self::started), where the server may end before it is there.
    pub(super) fn started_or_ended(&self, command: &mut Command) -> Option<Server> {
        let mut process = self.spawned(command);
        let url = process.url_or_end()?;
        Some(Server::at(process, url))
    }

    fn spawned(&self, command: &mut Command) -> Running {
        let life = self.lives.fetch_add(1, Ordering::SeqCst);
        Running::start(ask(&format!("life-{life}"), &self.model, command))
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

    /// Fails if a call was repeated within one life of the server, or when what follows it had been
    /// asked already, which shows that its node had completed.
    #[track_caller]
    pub(super) fn nothing_was_paid_for_twice(&self, runs: impl IntoIterator<Item = u64> + Clone) {
        let asked = self.model.requests();
        nothing_completed_was_asked_again(&asked, runs.clone());
        let lives_of = |prompt: &str| -> Vec<&str> {
            let of_prompt = asked.iter().filter(|request| request.prompt() == prompt);
            of_prompt
                .filter_map(|request| request.header("authorization"))
                .collect()
        };
        for n in runs {
            let [plan, left, right, end] = prompts(n);
            for prompt in [&plan, &left, &right, &end] {
                let lives = lives_of(prompt);
                let once_each: BTreeSet<&str> = lives.iter().copied().collect();
                assert_eq!(
                    lives.len(),
                    once_each.len(),
                    "`{prompt}` twice in one life: {lives:?}"
                );
            }
        }
    }

    /// A job's row in the store's file, whoever has it open.
    pub(super) fn row(&self, id: &str) -> Row {
        Row::read(&self.connection(), id)
    }

    /// Another program's connection to the store's file. It waits little for locks.
    pub(super) fn connection(&self) -> Connection {
        let connection = Connection::open(self.file()).expect("a database");
        connection
            .busy_timeout(Duration::from_millis(200))
            .expect("a time to wait");
        connection
    }

    /// Fails unless SQLite finds the file sound. The server must have ended.
    #[track_caller]
    pub(super) fn is_sound(&self) {
        Self::is_sound_at(&self.file());
    }

    #[track_caller]
    pub(super) fn is_sound_at(file: &Path) {
        let connection = Connection::open(file).expect("a database");
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

/// What the store's file says of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// As the schema numbers them: 1 running, 3 completed, …
    pub(super) status: u8,
    pub(super) token: u64,
    pub(super) attempts: u32,
    pub(super) worker: Option<String>,
    /// Stored ones.
    pub(super) events: u64,
}

impl Row {
    pub(super) fn read(connection: &Connection, id: &str) -> Self {
        let sql = "SELECT status, token, attempts, worker,
                (SELECT count(*) FROM events WHERE job = seq)
            FROM jobs WHERE id = ?1";
        let read = connection.query_row(sql, [bytes(id)], |row| {
            Ok(Self {
                status: row.get(0)?,
                token: row.get(1)?,
                attempts: row.get(2)?,
                worker: row.get(3)?,
                events: row.get(4)?,
            })
        });
        read.expect("the job is there")
    }
}

/// A job's id as it stands in the file.
pub(super) fn bytes(id: &str) -> Vec<u8> {
    let id: uuid::Uuid = id.parse().expect("an id");
    id.as_bytes().to_vec()
}

/// Nanoseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the program under test goes by the machine's clock"
)]
pub(super) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("it is later than 1970");
    i64::try_from(since.as_nanos()).expect("it is earlier than 2262")
}

/// A running server. Killed, as by `kill -9`, on drop.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) url: String,
    pub(crate) client: Client,
}

impl Server {
    pub(crate) fn at(process: Running, url: String) -> Self {
        Self {
            process,
            url,
            client: client(),
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Submits run `n` with a key of its own; `None` where the server is gone.
    pub(crate) async fn try_submit(&self, n: u64) -> Option<String> {
        let (status, handle) = self.post_job(n, json!({})).await?;
        assert_eq!(status, 202, "{handle}");
        Some(handle["job_id"].as_str().expect("an id").to_owned())
    }

    /// Submits run `n` with more in its envelope.
    pub(crate) async fn submit_with(&self, n: u64, envelope: Value) -> String {
        let (status, handle) = self.post_job(n, envelope).await.expect("an answer");
        assert_eq!(status, 202, "{handle}");
        handle["job_id"].as_str().expect("an id").to_owned()
    }

    /// `POST /jobs` of run `n`, with a key of its own and more in its envelope; `None` without an
    /// answer.
    pub(crate) async fn post_job(&self, n: u64, mut envelope: Value) -> Option<(u16, Value)> {
        envelope["inputs"]["n"] = json!(n);
        let response = self
            .client
            .post(format!("{}/jobs", self.url))
            .header("idempotency-key", format!("key-{n}"))
            .json(&envelope)
            .send()
            .await
            .ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.ok()?))
    }

    /// Whether requests should be sent here, and the answer.
    pub(crate) async fn readiness(&self) -> (u16, Value) {
        let response = self.client.get(format!("{}/health/ready", self.url)).send();
        let response = response.await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    /// Submits a run.
    pub(crate) async fn submit(&self, n: u64) -> String {
        self.try_submit(n).await.expect("the server is there")
    }

    /// Submits many, some at a time.
    pub(crate) async fn submit_all(&self, runs: impl IntoIterator<Item = u64>) -> Vec<String> {
        let runs: Vec<u64> = runs.into_iter().collect();
        let mut ids = Vec::new();
        for some in runs.chunks(50) {
            ids.extend(join_all(some.iter().map(|n| self.submit(*n))).await);
        }
        ids
    }

    /// Waits for a job's end, and returns it.
    pub(crate) async fn ended(&self, id: &str) -> Value {
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
    pub(crate) async fn all_complete(&self, ids: &[String]) {
        for id in ids {
            let job = self.ended(id).await;
            assert_eq!(job["status"], json!("completed"), "{job}");
        }
    }

    /// A job as it stands.
    pub(crate) async fn job(&self, id: &str) -> Value {
        self.get(&format!("/jobs/{id}")).await
    }

    /// How many jobs there are.
    pub(crate) async fn count_jobs(&self) -> usize {
        let mut count = 0;
        let mut query = "limit=200".to_owned();
        loop {
            let page = self.get(&format!("/jobs?{query}")).await;
            count += page["jobs"].as_array().expect("a page").len();
            match page["next_cursor"].as_str() {
                Some(cursor) => query = format!("limit=200&cursor={cursor}"),
                None => return count,
            }
        }
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.client.get(format!("{}{path}", self.url)).send();
        response
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON")
    }
}
