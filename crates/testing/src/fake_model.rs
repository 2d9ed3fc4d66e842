//! A model server for tests: the chat completions API on a port of its own.
//!
//! It runs on a thread with its own runtime, so that blocking tests and tests with a paused clock
//! can use it alike, and so that dropping it ends everything it started.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::watch;

use crate::serving::Serving;
use crate::{Reply, Request, conforming};

/// How long [`FakeModel::called`] and its like wait before they fail the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running fake model server; stops on drop.
///
/// A call takes the next scripted [`Reply`]; when there is none the answer function decides. The
/// default one gives a value that conforms to the request's schema, whose strings read `R:` and the
/// prompt, and without a schema just that text.
pub struct FakeModel {
    shared: Arc<Shared>,
    server: Serving,
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    script: Mutex<VecDeque<Reply>>,
    answer: Box<Answer>,
    seen: Mutex<Vec<Request>>,
    calls: watch::Sender<usize>,
    disconnects: watch::Sender<usize>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl FakeModel {
    /// A server with the default answer.
    ///
    /// # Panics
    /// When no port of 127.0.0.1 can be had.
    pub fn start() -> Self {
        Self::answering(default_answer)
    }

    /// A server that gives these replies in order, then the default answer.
    ///
    /// # Panics
    /// As [`FakeModel::start`].
    pub fn scripted(replies: impl IntoIterator<Item = Reply>) -> Self {
        let model = Self::start();
        model.script(replies);
        model
    }

    /// A server that answers by a function on the request.
    ///
    /// # Panics
    /// As [`FakeModel::start`].
    pub fn answering(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::answering_at(Ipv4Addr::LOCALHOST.into(), answer)
    }

    /// As [`FakeModel::answering`], on an address that others can reach, such as containers.
    ///
    /// # Panics
    /// When no port of that address can be had.
    pub fn answering_at(
        host: IpAddr,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            answer: Box::new(answer),
            seen: Mutex::default(),
            calls: watch::Sender::new(0),
            disconnects: watch::Sender::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        });
        let router = router(Arc::clone(&shared));
        Self {
            shared,
            server: Serving::start(SocketAddr::new(host, 0), router),
        }
    }

    /// Adds replies for the calls to come.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.shared.script).extend(replies);
    }

    /// How many scripted replies are left.
    pub fn unused_replies(&self) -> usize {
        lock(&self.shared.script).len()
    }

    /// The API's base address, such as `http://127.0.0.1:<port>/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many calls arrived.
    pub fn calls(&self) -> usize {
        *self.shared.calls.borrow()
    }

    /// Every call that arrived, in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.seen).clone()
    }

    /// How many clients went away before their answer was complete.
    pub fn disconnects(&self) -> usize {
        *self.shared.disconnects.borrow()
    }

    /// How many calls are open: arrived, and the last byte of the answer not yet handed over.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// The largest number of calls that were open at the same time.
    pub fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::Relaxed)
    }

    /// Waits until `count` calls have arrived.
    ///
    /// # Panics
    /// When they do not within 20 s.
    pub async fn called(&self, count: usize) {
        self.reached("calls", &self.shared.calls, count).await;
    }

    /// Waits until `count` clients went away before their answer was complete.
    ///
    /// # Panics
    /// When they do not within 20 s.
    pub async fn disconnected(&self, count: usize) {
        self.reached("disconnects", &self.shared.disconnects, count)
            .await;
    }

    /// Runs a future to its end, for tests that are not async: `model.block_on(model.called(1))`.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.server.runtime().block_on(future)
    }

    async fn reached(&self, what: &str, count: &watch::Sender<usize>, wanted: usize) {
        let mut count = count.subscribe();
        // On the server's runtime: the test's clock may be paused, and then it jumps.
        let waiting = self.server.runtime().spawn(async move {
            let reached = count.wait_for(|&now| now >= wanted);
            tokio::time::timeout(PATIENCE, reached).await.is_ok()
        });
        let reached = waiting.await.expect("the server outlives the wait");
        assert!(
            reached,
            "waited {PATIENCE:?} for {wanted} {what} of the fake model"
        );
    }
}

impl fmt::Debug for FakeModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeModel")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

fn default_answer(request: &Request) -> Reply {
    let text = format!("R:{}", request.prompt());
    match request.schema() {
        Some(schema) => Reply::json(conforming::value(schema, &text)),
        None => Reply::text(text),
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

async fn chat_completions(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let request = Request { headers, body };
    lock(&shared.seen).push(request.clone());
    let call = OpenCall::begin(Arc::clone(&shared));
    let scripted = lock(&shared.script).pop_front();
    let reply = scripted.unwrap_or_else(|| (shared.answer)(&request));
    let (head, body) = reply.respond(&request).await.into_parts();
    // The call stays open until the last byte was taken; a client that leaves drops the body.
    let mut call = Some(call);
    let mut body = body.into_data_stream();
    let body = stream::poll_fn(move |context| {
        let next = ready!(body.poll_next_unpin(context));
        if !matches!(next, Some(Ok(_)))
            && let Some(call) = call.take()
        {
            call.complete();
        }
        Poll::Ready(next)
    });
    Response::from_parts(head, Body::from_stream(body))
}

/// Counts a call as open from its arrival to its end, however it ends.
struct OpenCall {
    shared: Arc<Shared>,
    completed: bool,
}

impl OpenCall {
    fn begin(shared: Arc<Shared>) -> Self {
        let now = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_in_flight.fetch_max(now, Ordering::Relaxed);
        shared.calls.send_modify(|count| *count += 1);
        Self {
            shared,
            completed: false,
        }
    }

    fn complete(mut self) {
        self.completed = true;
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.completed {
            self.shared.disconnects.send_modify(|count| *count += 1);
        }
    }
}

/// A panic of the test must not hide behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::Gate;

    fn client() -> reqwest::Client {
        // A second test of this process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::new()
    }

    async fn ask(model: &FakeModel, extra: Value) -> reqwest::Result<reqwest::Response> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let url = format!("{}/chat/completions", model.base_url());
        client().post(url).json(&body).send().await
    }

    async fn content(model: &FakeModel, extra: Value) -> Value {
        let completion: Value = ask(model, extra).await.unwrap().json().await.unwrap();
        completion["choices"][0]["message"]["content"].clone()
    }

    #[tokio::test]
    async fn answers_by_schema_or_with_the_prompt() {
        let model = FakeModel::start();
        let schema = json!({"type": "object", "properties": {"result": {"type": "string"}}});
        let format =
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}});

        assert_eq!(content(&model, json!({})).await, "R:hello");
        assert_eq!(content(&model, format).await, r#"{"result":"R:hello"}"#);
        assert_eq!(model.calls(), 2);
        assert_eq!(model.requests()[1].prompt(), "hello");
    }

    #[tokio::test]
    async fn scripted_replies_come_first_and_in_order() {
        let model = FakeModel::scripted([Reply::text("one"), Reply::json(json!({"n": 2}))]);
        assert_eq!(content(&model, json!({})).await, "one");
        assert_eq!(model.unused_replies(), 1);
        assert_eq!(content(&model, json!({})).await, r#"{"n":2}"#);
        assert_eq!(content(&model, json!({})).await, "R:hello");
    }

    #[tokio::test]
    async fn a_stream_carries_the_text_the_usage_and_the_end() {
        let model = FakeModel::scripted([Reply::text("a longer answer").usage(3, 4)]);
        let wanted = json!({"stream": true, "stream_options": {"include_usage": true}});
        let events = ask(&model, wanted).await.unwrap().text().await.unwrap();

        let mut data: Vec<&str> = events
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "))
            .collect();
        assert_eq!(data.pop(), Some("[DONE]"));
        let chunks: Vec<Value> = data
            .iter()
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        let text: String = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(text, "a longer answer");
        assert_eq!(chunks.last().unwrap()["usage"]["total_tokens"], 7);
    }

    #[tokio::test]
    async fn an_error_status_has_its_retry_after() {
        let model = FakeModel::scripted([Reply::status(429).retry_after(2)]);
        let response = ask(&model, json!({})).await.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "2");
    }

    #[tokio::test]
    async fn an_aborted_call_is_a_disconnect_whether_it_hangs_before_or_midway() {
        let model = Arc::new(FakeModel::scripted([
            Reply::hang(),
            Reply::hang_midway("half of it"),
        ]));
        for (call, extra) in [json!({}), json!({"stream": true})].into_iter().enumerate() {
            let asking = Arc::clone(&model);
            let client = tokio::spawn(async move { ask(&asking, extra).await?.text().await });
            model.called(call + 1).await;
            client.abort();
            model.disconnected(call + 1).await;
        }
    }

    #[tokio::test]
    async fn a_truncated_answer_breaks_off_and_is_no_disconnect() {
        let model = FakeModel::scripted([
            Reply::truncated("half of it"),
            Reply::truncated("half of it"),
        ]);
        for extra in [json!({}), json!({"stream": true})] {
            let cut = ask(&model, extra).await.unwrap().text().await;
            assert!(cut.is_err(), "{cut:?}");
        }
        assert_eq!(model.disconnects(), 0);
    }

    #[tokio::test]
    async fn garbage_and_huge_bodies_arrive_as_such() {
        let model = FakeModel::scripted([Reply::garbage(), Reply::huge(200_000)]);
        let garbage = ask(&model, json!({})).await.unwrap().text().await.unwrap();
        assert!(serde_json::from_str::<Value>(&garbage).is_err());
        let huge = ask(&model, json!({})).await.unwrap().bytes().await.unwrap();
        assert!(huge.len() > 200_000);
    }

    #[tokio::test]
    async fn calls_overlap_and_a_delay_is_kept() {
        let delay = Duration::from_millis(100);
        let model = FakeModel::answering(move |_| Reply::text("late").after(delay));
        let start = Instant::now();
        let (a, b) = tokio::join!(content(&model, json!({})), content(&model, json!({})));
        assert_eq!((a, b), (json!("late"), json!("late")));
        assert!(start.elapsed() >= delay);
        assert_eq!(model.most_in_flight(), 2);
    }

    #[tokio::test]
    async fn an_answer_behind_a_gate_comes_when_it_is_opened() {
        let gate = Gate::shut();
        let model = Arc::new(FakeModel::scripted([Reply::text("late").behind(&gate)]));
        let asking = Arc::clone(&model);
        let call = tokio::spawn(async move { content(&asking, json!({})).await });
        model.called(1).await;
        assert_eq!(model.in_flight(), 1);
        gate.open();
        assert_eq!(call.await.unwrap(), "late");
        assert_eq!(model.in_flight(), 0);
    }

    #[test]
    fn dropping_it_frees_the_port_though_a_call_hangs() {
        let model = FakeModel::scripted([Reply::hang()]);
        let address = model.address();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client
            .write_all(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: fake\r\ncontent-length: 2\r\n\r\n{}",
            )
            .unwrap();
        model.block_on(model.called(1));
        drop(model);
        assert!(std::net::TcpStream::connect(address).is_err());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}
