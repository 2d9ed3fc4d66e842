//! Servers that share a database, and the model that they ask.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testing::postgres::{self, Database, sweep};
use testing::{FakeModel, Reply, Request, TempProject};

use crate::durable::fixture::{STORY, Server, nothing_completed_was_asked_again, prompts};
use crate::http::{ask, client, serve};
use crate::support::{PATIENCE, Running};

/// A project with the file `story.yaml`, its model, and a database.
pub(super) struct Cluster<'s> {
    project: TempProject,
    pub(super) model: FakeModel,
    pub(super) database: Database<'s>,
    /// By which way servers reach the database.
    store: String,
    /// Servers started so far.
    lives: AtomicUsize,
}

/// The answer to everything.
pub(super) fn ok() -> Reply {
    Reply::json(json!({"result": "ok"}))
}

/// Which server asks, by the order of their starts.
pub(super) fn life(request: &Request) -> usize {
    let key = request.header("authorization").expect("a key");
    let (_, number) = key.rsplit_once('-').expect("a key of a cluster");
    number.parse().expect("a number")
}

impl<'s> Cluster<'s> {
    /// On a new database of that server.
    pub(super) fn new(
        server: &'s postgres::Server,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let database = server.database();
        Self {
            project: TempProject::with_file("story.yaml", STORY),
            model: FakeModel::answering(answer),
            store: database.url(),
            database,
            lives: AtomicUsize::new(0),
        }
    }

    /// Servers started from now on reach the database by that address.
    pub(super) fn by_way_of(mut self, proxy: SocketAddr) -> Self {
        self.store = self.database.url_by(proxy);
        self
    }

    /// As [`by_way_of`](Self::by_way_of), with a whole URL.
    pub(super) fn by_url(mut self, url: String) -> Self {
        self.store = url;
        self
    }

    /// A folder for files of the test.
    pub(super) fn project(&self) -> &TempProject {
        &self.project
    }

    /// Starts a server. Its model key tells which one it is.
    pub(super) fn start(&self, options: &str) -> Server {
        self.started(&mut self.command(options))
    }

    /// The command that starts a server.
    pub(super) fn command(&self, options: &str) -> Command {
        let mut command = serve(&self.project, &format!("story.yaml {options}"));
        command.args(["--store", &self.store]);
        command
    }

    /// As [`start`](Self::start), by a command that was changed.
    pub(super) fn started(&self, command: &mut Command) -> Server {
        let life = self.lives.fetch_add(1, Ordering::SeqCst);
        let mut process = Running::start(ask(&format!("life-{life}"), &self.model, command));
        let url = process.url();
        Server::at(process, url)
    }

    /// How often that server asked.
    pub(super) fn asked_by(&self, asking: usize) -> usize {
        let requests = self.model.requests();
        requests.iter().filter(|one| life(one) == asking).count()
    }

    /// How often each prompt was asked.
    pub(super) fn asked(&self) -> HashMap<String, usize> {
        let mut asked = HashMap::new();
        for request in self.model.requests() {
            *asked.entry(request.prompt().to_owned()).or_default() += 1;
        }
        asked
    }

    /// Fails unless every call of those runs was made exactly once.
    #[track_caller]
    pub(super) fn asked_once(&self, runs: impl IntoIterator<Item = u64>) {
        let asked = self.asked();
        for n in runs {
            for prompt in prompts(n) {
                assert_eq!(asked.get(&prompt), Some(&1), "`{prompt}`");
            }
        }
    }

    /// Fails if a node that had completed was asked again.
    #[track_caller]
    pub(super) fn nothing_completed_was_asked_again(&self, runs: impl IntoIterator<Item = u64>) {
        nothing_completed_was_asked_again(&self.model.requests(), runs);
    }

    /// Waits until each of those jobs has completed, and fails unless the database is in order then
    /// and holds exactly those jobs with one end each.
    pub(super) async fn all_completed(&self, ids: Vec<String>) {
        self.all_completed_in(&self.database, ids).await;
    }

    /// As [`all_completed`](Self::all_completed), where another database has taken the place of the
    /// first.
    pub(super) async fn all_completed_in(&self, database: &Database<'_>, mut ids: Vec<String>) {
        let unfinished = "SELECT count(*) FROM flowmill.active";
        until(database, "all jobs have ended", || {
            database.count(unfinished) == 0
        })
        .await;
        let broken = sweep(database);
        assert!(broken.is_empty(), "{broken:#?}");
        ids.sort_unstable();
        let stored = database
            .query("SELECT id FROM flowmill.jobs WHERE status = 3 ORDER BY id::text COLLATE \"C\"");
        let stored: Vec<String> = stored.into_iter().flatten().collect();
        assert_eq!(stored, ids, "the accepted jobs, all completed");
        let ends = database.query(
            "SELECT job, count(*) FROM flowmill.events
            WHERE kind IN ('run_completed', 'run_failed', 'run_cancelled')
            GROUP BY job HAVING count(*) <> 1",
        );
        assert!(ends.is_empty(), "jobs with several ends: {ends:?}");
        let nodes = database.query(
            "SELECT job, data::json->>'node', data::json->>'item', count(*) FROM flowmill.events
            WHERE kind = 'node_completed' GROUP BY 1, 2, 3 HAVING count(*) <> 1",
        );
        assert!(nodes.is_empty(), "nodes that completed twice: {nodes:?}");
    }

    /// Waits until something holds of the database.
    pub(super) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        until(&self.database, what, holds).await;
    }
}

async fn until(database: &Database<'_>, what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        let active = database.query(
            "SELECT a.*, r.name, r.is_dead, r.lease_until FROM flowmill.active a
            LEFT JOIN flowmill.replicas r ON r.id = a.replica",
        );
        panic!("not in time: {what}; active: {active:#?}");
    }
}

/// Submits run `n` to any of those servers, until one accepts it: what got no answer, or a refusal
/// for now, is sent again elsewhere with the same key.
pub(super) async fn submit_anywhere(urls: &[String], n: u64, random: &mut fastrand::Rng) -> String {
    let client = client();
    let submitting = async {
        loop {
            let url = &urls[random.usize(..urls.len())];
            let response = client
                .post(format!("{url}/jobs"))
                .timeout(Duration::from_secs(5))
                .header("idempotency-key", format!("key-{n}"))
                .json(&json!({"inputs": {"n": n}}))
                .send()
                .await;
            if let Ok(response) = response {
                let status = response.status();
                let body: Result<Value, _> = response.json().await;
                match (status.as_u16(), body) {
                    (202, Ok(body)) => return body["job_id"].as_str().expect("an id").to_owned(),
                    (202 | 503, _) => {}
                    (status, body) => panic!("run {n}: {status}: {body:?}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(random.u64(20..100))).await;
        }
    };
    let submitted = tokio::time::timeout(2 * PATIENCE, submitting).await;
    submitted.unwrap_or_else(|_| panic!("run {n} is never accepted"))
}
