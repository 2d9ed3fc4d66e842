//! Clients that do everything there is to do, and often go away before they have their answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::ledger::Ledger;
use crate::http;

/// What runs are about: no two of all the clients are about the same.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// One client of one life of the server.
pub(super) struct Client {
    url: String,
    rng: Rng,
    http: reqwest::Client,
    ledger: Arc<Ledger>,
    made: Arc<AtomicUsize>,
}

/// Why there was no answer.
enum NoAnswer {
    /// The server is gone for good.
    Gone,
    /// It broke off, or the client went.
    Broken,
}

impl Client {
    pub(super) fn new(url: &str, seed: u64, ledger: Arc<Ledger>, made: Arc<AtomicUsize>) -> Self {
        Self {
            url: url.to_owned(),
            rng: Rng::with_seed(seed),
            http: http::client(),
            ledger,
            made,
        }
    }

    /// Makes so many requests, or as many as there is a server for.
    pub(super) async fn work(mut self, requests: usize, pause: Duration) {
        for _ in 0..requests {
            let (what, outcome) = match self.rng.u8(0..100) {
                0..25 => ("run", self.run().await),
                25..40 => ("job", self.job().await),
                40..52 => ("leave", self.leave().await),
                52..62 => ("stream", self.stream().await),
                62..70 => ("repeat", self.repeat().await),
                70..74 => ("misuse", self.misuse().await),
                74..82 => ("cancel", self.cancel().await),
                82..88 => ("retry", self.retry().await),
                88..90 => ("forget", self.forget().await),
                _ => ("look", self.look().await),
            };
            let end = if outcome.is_ok() { "" } else { " (no answer)" };
            self.ledger.count(format!("{what}{end}"));
            self.made.fetch_add(1, Ordering::Relaxed);
            if matches!(outcome, Err(NoAnswer::Gone)) {
                break;
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url)).json(body)
    }

    /// A fresh run with a key of its own, and what it is about.
    fn fresh(&self) -> (String, u64, RequestBuilder) {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = format!("key-{n}");
        self.ledger.sent(&key, n);
        let request = self.post("/run", &json!({"n": n}));
        let request = request.header("idempotency-key", &key);
        (key, n, request)
    }

    /// Waits for the result, or does not.
    async fn run(&mut self) -> Result<(), NoAnswer> {
        let (key, n, mut request) = self.fresh();
        if self.rng.bool() {
            request = request.header("prefer", "respond-async");
        }
        self.answered(Some(&key), n, request).await
    }

    async fn job(&mut self) -> Result<(), NoAnswer> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let deadline = self.rng.u64(1..30);
        let body = json!({"inputs": {"n": n}, "metadata": {"n": n}, "deadline": deadline});
        self.answered(None, n, self.post("/jobs", &body)).await
    }

    /// An answer that hands out a job, by success or by what is told of the failure.
    async fn answered(
        &self,
        key: Option<&str>,
        n: u64,
        request: RequestBuilder,
    ) -> Result<(), NoAnswer> {
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        let answer: Value = response.json().await.map_err(|_| NoAnswer::Broken)?;
        match (status, answer["job_id"].as_str()) {
            (200 | 202 | 409 | 500 | 502 | 504, Some(id)) => self.ledger.accepted(key, n, id),
            (503, _) => {}
            _ => self.ledger.wrong(format!("run {n}: {status} {answer}")),
        }
        let end = &answer["outputs"]["end"];
        if status == 200 && *end != json!(format!("end of {n}")) {
            self.ledger.wrong(format!("run {n}: {answer}"));
        }
        Ok(())
    }

    /// Goes away before the answer.
    async fn leave(&mut self) -> Result<(), NoAnswer> {
        let (_, _, request) = self.fresh();
        let patience = Duration::from_millis(self.rng.u64(0..80));
        self.send(request.timeout(patience)).await.map(drop)
    }

    /// Watches its run, to the end or for some events.
    async fn stream(&mut self) -> Result<(), NoAnswer> {
        let (key, n, request) = self.fresh();
        let request = request.header("accept", "text/event-stream");
        let mut response = self.send(request).await?;
        let location = response.headers().get("location");
        let id = location.and_then(|value| value.to_str().ok()?.strip_prefix("/status/"));
        match (response.status().as_u16(), id) {
            (200, Some(id)) => self.ledger.accepted(Some(&key), n, id),
            (503, _) => {}
            (status, _) => self.ledger.wrong(format!("stream of {n}: {status}")),
        }
        let mut pieces = if self.rng.bool() {
            usize::MAX
        } else {
            self.rng.usize(0..4)
        };
        while pieces > 0
            && response
                .chunk()
                .await
                .map_err(|_| NoAnswer::Broken)?
                .is_some()
        {
            pieces -= 1;
        }
        Ok(())
    }

    /// The same request again: the same job.
    async fn repeat(&mut self) -> Result<(), NoAnswer> {
        let Some((key, n)) = self.ledger.any_key(self.rng.usize(..)) else {
            return Ok(());
        };
        let request = self.post("/run", &json!({"n": n}));
        let request = request.header("idempotency-key", &key);
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        let answer: Value = response.json().await.map_err(|_| NoAnswer::Broken)?;
        if let Some(id) = answer["job_id"].as_str() {
            self.ledger.accepted(Some(&key), n, id);
        }
        let is_expected = match status {
            // A key outlives its job, and never makes another.
            410 => self.key_may_be_gone(&key),
            status => [200, 202, 409, 500, 502, 503, 504].contains(&status),
        };
        if !is_expected {
            self.ledger
                .wrong(format!("repeated {n}: {status} {answer}"));
        }
        Ok(())
    }

    fn key_may_be_gone(&self, key: &str) -> bool {
        self.ledger
            .job_of(key)
            .is_some_and(|id| self.ledger.may_be_gone(&id))
    }

    /// The same key for another run: refused, if the first arrived.
    async fn misuse(&mut self) -> Result<(), NoAnswer> {
        let Some((key, n)) = self.ledger.any_key(self.rng.usize(..)) else {
            return Ok(());
        };
        if self.ledger.job_of(&key).is_none() || self.key_may_be_gone(&key) {
            return Ok(());
        }
        let request = self.post("/run", &json!({"n": n + 1_000_000_000}));
        let response = self.send(request.header("idempotency-key", &key)).await?;
        let status = response.status().as_u16();
        if ![422, 503].contains(&status) && !self.key_may_be_gone(&key) {
            self.ledger
                .wrong(format!("{key} for another run: {status}"));
        }
        Ok(())
    }

    async fn cancel(&mut self) -> Result<(), NoAnswer> {
        self.of_any_job(Method::POST, "/cancel", &[200, 202, 409])
            .await
    }

    async fn retry(&mut self) -> Result<(), NoAnswer> {
        let Some((id, n)) = self.ledger.any_job(self.rng.usize(..)) else {
            return Ok(());
        };
        let response = self
            .send(self.post(&format!("/jobs/{id}/retry"), &json!({})))
            .await?;
        let status = response.status().as_u16();
        let answer: Value = response.json().await.map_err(|_| NoAnswer::Broken)?;
        match (status, answer["job_id"].as_str()) {
            (202, Some(again)) => self.ledger.accepted(None, n, again),
            (409 | 503, _) => {}
            (404, _) if self.ledger.may_be_gone(&id) => {}
            _ => self
                .ledger
                .wrong(format!("retry of {id}: {status} {answer}")),
        }
        Ok(())
    }

    async fn forget(&mut self) -> Result<(), NoAnswer> {
        let Some((id, _)) = self.ledger.any_job(self.rng.usize(..)) else {
            return Ok(());
        };
        // First: whether it is forgotten is open until there is an answer.
        self.ledger.may_be_forgotten(&id);
        let request = self.http.delete(format!("{}/jobs/{id}", self.url));
        match self.send(request).await?.status().as_u16() {
            204 => self.ledger.is_gone(&id),
            404 | 503 => {}
            409 => self.ledger.stays(&id),
            status => self.ledger.wrong(format!("forget {id}: {status}")),
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), NoAnswer> {
        if self.rng.bool() {
            return self.of_any_job(Method::GET, "", &[200]).await;
        }
        let request = self.http.get(format!("{}/jobs?limit=20", self.url));
        let status = self.send(request).await?.status().as_u16();
        if ![200, 503].contains(&status) {
            self.ledger.wrong(format!("list: {status}"));
        }
        Ok(())
    }

    /// Asks about a job, where one is known.
    async fn of_any_job(
        &mut self,
        method: Method,
        path: &str,
        expected: &[u16],
    ) -> Result<(), NoAnswer> {
        let Some((id, _)) = self.ledger.any_job(self.rng.usize(..)) else {
            return Ok(());
        };
        let url = format!("{}/jobs/{id}{path}", self.url);
        let status = self
            .send(self.http.request(method.clone(), url))
            .await?
            .status()
            .as_u16();
        let is_gone = status == 404 && self.ledger.may_be_gone(&id);
        if !(expected.contains(&status) || status == 503 || is_gone) {
            self.ledger.wrong(format!("{method} {id}{path}: {status}"));
        }
        Ok(())
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, NoAnswer> {
        request.send().await.map_err(|error| {
            if error.is_connect() {
                NoAnswer::Gone
            } else {
                NoAnswer::Broken
            }
        })
    }
}
