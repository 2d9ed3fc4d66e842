//! The load generator: a fixed number of keep-alive connections to one address of this machine.
//!
//! Every load is bounded, in time or in requests, and stops by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A request that is repeated, and the expected response.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    method: Method,
    path: String,
    body: Bytes,
    /// An API key.
    key: Option<String>,
    /// Any will do where there is none.
    status: Option<StatusCode>,
}

impl Question {
    /// A synchronous run of the greeting workflow.
    pub(crate) fn run() -> Self {
        Self {
            method: Method::POST,
            path: "/run".to_owned(),
            body: Bytes::from_static(br#"{"name":"Ada"}"#),
            key: None,
            status: Some(StatusCode::OK),
        }
    }

    /// The same as a job.
    pub(crate) fn job() -> Self {
        Self {
            method: Method::POST,
            path: "/jobs".to_owned(),
            body: Bytes::from_static(br#"{"inputs":{"name":"Ada"}}"#),
            key: None,
            status: Some(StatusCode::ACCEPTED),
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: Bytes::new(),
            key: None,
            status: Some(StatusCode::OK),
        }
    }

    /// Asks a job that runs to stop.
    pub(crate) fn cancel(job: &str) -> Self {
        Self {
            method: Method::POST,
            path: format!("/jobs/{job}/cancel"),
            body: Bytes::new(),
            key: None,
            status: Some(StatusCode::ACCEPTED),
        }
    }

    /// The same with an API key.
    pub(crate) fn with_key(self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self
        }
    }

    /// The same, whatever the answer.
    pub(crate) fn or_refused(self) -> Self {
        Self {
            status: None,
            ..self
        }
    }
}

/// Connections that may be opened at the same time, below every listener's backlog.
const CONNECTING: usize = 256;
/// Connections that poll jobs, and the pause between two polls of the same job.
const POLLING: usize = 32;
const POLL: Duration = Duration::from_millis(20);
/// Longest time for a response, after which the measurement fails.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The result of a load in which every request succeeded.
pub(crate) struct Sample {
    elapsed: Duration,
    /// Ascending; at least one.
    latencies: Vec<Duration>,
}

impl Sample {
    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// Requests per second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    pub(crate) fn throughput(&self) -> f64 {
        self.requests() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that `percent` of the requests did not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        self.latencies[rank.saturating_sub(1)]
    }
}

/// The result of many concurrent runs.
pub(crate) struct Flight {
    pub(crate) succeeded: usize,
    /// From the first connection to the last answer.
    pub(crate) elapsed: Duration,
    /// Why the first failed run failed.
    pub(crate) failure: Option<anyhow::Error>,
}

/// The body of one answer.
pub(crate) async fn ask_once(address: SocketAddr, question: &Question) -> Result<Bytes> {
    on_connection(address, async |sender| ask(sender, question).await).await
}

/// Sends a total number of requests, some at a time; returns the responses and the duration.
pub(crate) async fn ask_in_all(
    address: SocketAddr,
    question: &Question,
    connections: usize,
    times: usize,
) -> Result<(Vec<Bytes>, Duration)> {
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..connections {
        let question = question.clone();
        let share = times / connections + usize::from(client < times % connections);
        clients.spawn(on_connection(address, async move |sender| {
            let mut answers = Vec::with_capacity(share);
            for _ in 0..share {
                answers.push(ask(sender, &question).await?);
            }
            Ok(answers)
        }));
    }
    let mut answers = Vec::with_capacity(times);
    while let Some(client) = clients.join_next().await {
        answers.extend(client??);
    }
    Ok((answers, start.elapsed()))
}

/// Repeats each request until it gets the wanted response, some at a time. Fails after a while.
pub(crate) async fn ask_until(
    address: SocketAddr,
    questions: Vec<Question>,
    is_wanted: fn(&[u8]) -> bool,
) -> Result<()> {
    let end = Instant::now() + ANSWER_LIMIT;
    let mut clients = JoinSet::new();
    for some in questions.chunks(questions.len().div_ceil(POLLING)) {
        let some = some.to_vec();
        clients.spawn(on_connection(address, async move |sender| {
            for question in some {
                loop {
                    let answer = ask(sender, &question).await?;
                    if is_wanted(&answer) {
                        break;
                    }
                    ensure!(
                        Instant::now() < end,
                        "not within {ANSWER_LIMIT:?}: {}",
                        String::from_utf8_lossy(&answer)
                    );
                    tokio::time::sleep(POLL).await;
                }
            }
            Ok(())
        }));
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

/// Sends that many requests on one connection.
pub(crate) async fn times(
    address: SocketAddr,
    question: &Question,
    times: usize,
) -> Result<Sample> {
    let start = Instant::now();
    let mut latencies = on_connection(address, async |sender| {
        let mut latencies = Vec::with_capacity(times);
        for _ in 0..times {
            let asked = Instant::now();
            ask(sender, question).await?;
            latencies.push(asked.elapsed());
        }
        Ok(latencies)
    })
    .await?;
    latencies.sort_unstable();
    Ok(Sample {
        elapsed: start.elapsed(),
        latencies,
    })
}

/// Repeats the request on each connection until the time is up.
pub(crate) async fn repeat(
    address: SocketAddr,
    question: &Question,
    connections: usize,
    length: Duration,
) -> Result<Sample> {
    let start = Instant::now();
    let end = start + length;
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let question = question.clone();
        clients.spawn(on_connection(address, async move |sender| {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let asked = Instant::now();
                ask(sender, &question).await?;
                latencies.push(asked.elapsed());
            }
            Ok(latencies)
        }));
    }
    let mut latencies = Vec::new();
    while let Some(client) = clients.join_next().await {
        latencies.extend(client??);
    }
    let elapsed = start.elapsed();
    ensure!(
        !latencies.is_empty(),
        "the load ended before the first request"
    );
    latencies.sort_unstable();
    Ok(Sample { elapsed, latencies })
}

/// Sends one request on each of `runs` connections, which are all open at the same time.
pub(crate) async fn all_at_once(address: SocketAddr, runs: usize) -> Flight {
    let start = Instant::now();
    let connecting = Arc::new(Semaphore::new(CONNECTING));
    let mut clients = JoinSet::new();
    for _ in 0..runs {
        let connecting = Arc::clone(&connecting);
        clients.spawn(async move {
            let permit = connecting.acquire_owned().await?;
            let run = on_connection(address, async move |sender| {
                drop(permit);
                ask(sender, &Question::run()).await
            });
            tokio::time::timeout(ANSWER_LIMIT, run).await?
        });
    }
    let mut flight = Flight {
        succeeded: 0,
        elapsed: Duration::ZERO,
        failure: None,
    };
    while let Some(client) = clients.join_next().await {
        match client.map_err(anyhow::Error::from).flatten() {
            Ok(_) => flight.succeeded += 1,
            Err(error) => flight.failure = flight.failure.or(Some(error)),
        }
    }
    flight.elapsed = start.elapsed();
    flight
}

type Sender = SendRequest<Full<Bytes>>;

/// Opens a connection and drives it, in the caller's task, for as long as `work` takes.
async fn on_connection<T>(
    address: SocketAddr,
    work: impl AsyncFnOnce(&mut Sender) -> Result<T>,
) -> Result<T> {
    let stream = TcpStream::connect(address)
        .await
        .context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::select! {
        done = work(&mut sender) => done,
        ended = connection => match ended {
            Ok(()) => bail!("the server closed the connection"),
            Err(error) => Err(error).context("the connection broke"),
        },
    }
}

async fn ask(sender: &mut Sender, question: &Question) -> Result<Bytes> {
    let mut request = Request::builder()
        .method(question.method.clone())
        .uri(&question.path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json");
    if let Some(key) = &question.key {
        request = request.header("x-api-key", key);
    }
    let request = request
        .body(Full::new(question.body.clone()))
        .expect("a correct request");
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(
        question.status.is_none_or(|wanted| status == wanted),
        "status {status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(requests: u64, percent: usize, expected_ms: u64) {
        let latencies = (1..=requests).map(Duration::from_millis).collect();
        let sample = Sample {
            elapsed: Duration::from_secs(1),
            latencies,
        };
        assert_eq!(
            sample.percentile(percent),
            Duration::from_millis(expected_ms)
        );
    }

    #[test]
    fn a_percentile_is_the_smallest_latency_that_enough_requests_kept() {
        check(1, 50, 1);
        check(1, 99, 1);
        check(10, 50, 5);
        check(100, 99, 99);
        check(1000, 99, 990);
        check(10, 99, 10);
    }
}
