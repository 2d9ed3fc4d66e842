//! A model server that costs as little as possible: every chat completion gets the same answer. It
//! plays MLflow, too, which takes every run.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::options::ModelServerOptions;

/// The structured answer that the greeting workflow's node expects.
pub(crate) const GREETING: &str = "Hello, Ada, how good to see you!";

/// Also reports the maximum number of concurrent calls, if calls take a while.
pub(crate) const MOST_AT_ONCE: &str = "/most-at-once";

/// Reports the number of calls there were.
pub(crate) const CALLED: &str = "/called";

static CALLS: Calls = Calls {
    total: AtomicUsize::new(0),
    now: AtomicUsize::new(0),
    most: AtomicUsize::new(0),
};

struct Calls {
    total: AtomicUsize,
    /// Of those that take a while.
    now: AtomicUsize,
    most: AtomicUsize,
}

/// Connections the kernel may hold while the server is busy; 10,000 arrive at once.
const BACKLOG: u32 = 4096;

static COMPLETION: LazyLock<Bytes> = LazyLock::new(|| {
    let answer = json!({"greeting": GREETING}).to_string();
    let completion = json!({
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 0,
        "model": "bench",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": answer},
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21},
    });
    completion.to_string().into()
});

/// A response that fits every request to MLflow's API.
static TRACKED: LazyLock<Bytes> = LazyLock::new(|| {
    let answer = json!({
        "experiment": {"experiment_id": "1", "lifecycle_stage": "active"},
        "run": {"info": {"run_id": "bench", "experiment_id": "1",
            "artifact_uri": "mlflow-artifacts:/1/bench/artifacts"}},
    });
    answer.to_string().into()
});

/// Prints the address and serves until it is killed.
pub(crate) async fn serve(options: ModelServerOptions) -> Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(BACKLOG)?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;

    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                let service = service_fn(move |request| answer(request, options.delay_ms));
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
            // A client may disconnect at any time.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    delay: Duration,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let count = match request.uri().path() {
        MOST_AT_ONCE => Some(&CALLS.most),
        CALLED => Some(&CALLS.total),
        _ => None,
    };
    if let Some(count) = count {
        let count = count.load(Ordering::Relaxed).to_string();
        return Ok(Response::new(Full::new(count.into())));
    }
    CALLS.total.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path();
    let is_mlflow = path.starts_with("/api/2.0/mlflow") || path == "/v1/traces";
    // The connection can only be used again once the request is read.
    let _ = request.into_body().collect().await;
    if !delay.is_zero() {
        let now = CALLS.now.fetch_add(1, Ordering::Relaxed) + 1;
        CALLS.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(delay).await;
        CALLS.now.fetch_sub(1, Ordering::Relaxed);
    }
    let mut response = Response::new(Full::new(if is_mlflow {
        TRACKED.clone()
    } else {
        COMPLETION.clone()
    }));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
