//! What the server has promised, and whether it kept it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::http::client;

const ENDS: [&str; 3] = ["run_completed", "run_failed", "run_cancelled"];

/// All jobs whose ids have left the server, and all idempotency keys that were sent.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    /// By id: what its run is about.
    jobs: BTreeMap<String, u64>,
    /// Forgotten on request: for certain, or perhaps.
    gone: BTreeMap<String, bool>,
    /// By key: what was asked for, and the job if it was told.
    keys: HashMap<String, (u64, Option<String>)>,
    /// How often what was done.
    counts: BTreeMap<String, usize>,
    /// What should not have happened.
    wrong: Vec<String>,
}

impl Ledger {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request with that key goes out.
    pub(super) fn sent(&self, key: &str, n: u64) {
        self.pages().keys.entry(key.to_owned()).or_insert((n, None));
    }

    /// The server has told a job's id.
    pub(super) fn accepted(&self, key: Option<&str>, n: u64, id: &str) {
        let mut pages = self.pages();
        let before = pages.jobs.insert(id.to_owned(), n);
        if before.is_some_and(|before| before != n) {
            pages
                .wrong
                .push(format!("{id} is of two runs: {before:?} and {n}"));
        }
        let Some(key) = key else { return };
        let known = pages.keys.get_mut(key).expect("it was sent");
        match &known.1 {
            Some(known) if known != id => {
                let wrong = format!("the key {key} made {known} and {id}");
                pages.wrong.push(wrong);
            }
            Some(_) => {}
            None => known.1 = Some(id.to_owned()),
        }
    }

    /// A job is to be forgotten; until there is an answer nobody knows whether it is.
    pub(super) fn may_be_forgotten(&self, id: &str) {
        let mut pages = self.pages();
        if !pages.gone.contains_key(id) {
            pages.gone.insert(id.to_owned(), false);
        }
    }

    /// It is.
    pub(super) fn is_gone(&self, id: &str) {
        self.pages().gone.insert(id.to_owned(), true);
    }

    /// It had not ended, and so it is not.
    pub(super) fn stays(&self, id: &str) {
        let mut pages = self.pages();
        if pages.gone.get(id) == Some(&false) {
            pages.gone.remove(id);
        }
    }

    /// Whether nobody may rely on its being there.
    pub(super) fn may_be_gone(&self, id: &str) -> bool {
        self.pages().gone.contains_key(id)
    }

    pub(super) fn count(&self, what: String) {
        *self.pages().counts.entry(what).or_default() += 1;
    }

    pub(super) fn wrong(&self, what: String) {
        self.pages().wrong.push(what);
    }

    /// A job whose id is known, with what it is about.
    pub(super) fn any_job(&self, choice: usize) -> Option<(String, u64)> {
        let pages = self.pages();
        let at = choice.checked_rem(pages.jobs.len())?;
        pages.jobs.iter().nth(at).map(|(id, n)| (id.clone(), *n))
    }

    /// A key that was sent, with what was asked for.
    pub(super) fn any_key(&self, choice: usize) -> Option<(String, u64)> {
        let pages = self.pages();
        let at = choice.checked_rem(pages.keys.len())?;
        pages
            .keys
            .iter()
            .nth(at)
            .map(|(key, (n, _))| (key.clone(), *n))
    }

    /// The job that a key is known to have made.
    pub(super) fn job_of(&self, key: &str) -> Option<String> {
        self.pages().keys.get(key)?.1.clone()
    }

    /// Everything that was promised is there and has ended, once.
    pub(super) async fn take_stock(&self, url: &str) {
        let (promised, gone) = {
            let pages = self.pages();
            assert!(pages.wrong.is_empty(), "{:#?}", pages.wrong);
            assert!(!pages.jobs.is_empty(), "nothing was accepted");
            (pages.jobs.clone(), pages.gone.clone())
        };
        let asking = Asking::at(url);
        for (id, _) in gone.iter().filter(|(_, is_certain)| **is_certain) {
            assert_eq!(asking.get(&format!("/jobs/{id}")).await.0, 404, "{id}");
        }
        for (id, n) in promised.iter().filter(|(id, _)| !gone.contains_key(*id)) {
            let (status, job) = asking.get(&format!("/jobs/{id}")).await;
            assert_eq!(status, 200, "{id} is lost: {job}");
            has_ended(&job, *n);
            ended_once(id, &asking.events(id).await);
        }
        self.everything_listed(&asking, &promised, &gone).await;
    }

    /// The list has what was promised, each once, and nothing of it goes on: not even what nobody
    /// was told of.
    async fn everything_listed(
        &self,
        asking: &Asking,
        promised: &BTreeMap<String, u64>,
        gone: &BTreeMap<String, bool>,
    ) {
        let mut listed = BTreeSet::new();
        let mut cursor = String::new();
        loop {
            let (status, page) = asking.get(&format!("/jobs?limit=200{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            for row in page["jobs"].as_array().expect("a page") {
                let id = row["job_id"].as_str().expect("an id").to_owned();
                if !is_over(row) {
                    let (_, job) = asking.get(&format!("/jobs/{id}")).await;
                    assert!(is_over(&job), "{job}");
                }
                assert!(listed.insert(id), "{row} is listed twice");
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        for id in promised.keys() {
            match gone.get(id) {
                None => assert!(listed.contains(id), "{id} is not listed"),
                Some(true) => assert!(!listed.contains(id), "{id} is listed"),
                Some(false) => {}
            }
        }
        self.count(format!("listed {}", listed.len()));
    }
}

/// Questions to a server that answers all of them.
struct Asking {
    url: String,
    http: Client,
}

impl Asking {
    fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            http: client(),
        }
    }

    /// Of a job, when it has ended.
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = self.http.get(format!("{}{path}", self.url));
        let answer = request.header("prefer", "wait=50").send().await;
        let answer = answer.expect("an answer");
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    /// All the events of a job that has ended.
    async fn events(&self, id: &str) -> Vec<Value> {
        let request = self.http.get(format!("{}/jobs/{id}/events", self.url));
        let answer = request.send().await.expect("an answer");
        let text = answer.text().await.expect("UTF-8");
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).expect("JSON"))
            .collect()
    }
}

fn is_over(job: &Value) -> bool {
    ["completed", "failed", "cancelled"].contains(&job["status"].as_str().unwrap_or_default())
}

#[track_caller]
fn has_ended(job: &Value, n: u64) {
    assert!(is_over(job), "{job}");
    if job["status"] == "completed" {
        let expected =
            json!({"n": n, "plan": format!("plan of {n}"), "end": format!("end of {n}")});
        assert_eq!(job["outputs"], expected, "{job}");
    }
}

#[track_caller]
fn ended_once(id: &str, events: &[Value]) {
    let ends = |event: &&Value| ENDS.contains(&event["event"].as_str().unwrap_or_default());
    assert_eq!(events.iter().filter(ends).count(), 1, "{id}: {events:#?}");
    assert!(
        events.last().as_ref().is_some_and(ends),
        "{id}: {events:#?}"
    );
    for (expected, event) in (1_u64..).zip(events) {
        assert_eq!(event["id"], json!(expected), "{id}: {events:#?}");
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = self.pages();
        let (jobs, keys) = (pages.jobs.len(), pages.keys.len());
        write!(f, "{jobs} jobs, {keys} keys, {:?}", pages.counts)
    }
}
