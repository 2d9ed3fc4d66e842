//! A receiver of webhooks: keeps what it gets and answers as a test tells it to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use tokio::sync::watch;

use crate::serving::Serving;

/// How long [`Receiver::got`] waits before it fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Path and query of the request.
    pub to: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it arrived.
    pub body: Bytes,
}

impl Received {
    /// A header's value; empty if the header is missing.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a message is JSON")
    }
}

/// How a receiver answers one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// With this status.
    Answer(u16),
    /// With 302 to this address.
    Redirect(String),
    /// With 503 and `Retry-After` in seconds.
    Busy(u64),
    /// Never, for as long as the sender waits.
    Hang,
    /// With 200 and a body that never ends.
    Endless,
}

type ActOn = dyn Fn(usize, &Received) -> Act + Send + Sync;

/// A running receiver on a port of its own, on a thread of its own; stops on drop.
pub struct Receiver {
    shared: Arc<Shared>,
    server: Serving,
}

struct Shared {
    act: Box<ActOn>,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
}

impl Receiver {
    /// Starts a receiver that answers 204 to everything.
    ///
    /// # Panics
    /// When no port of 127.0.0.1 can be had.
    pub fn start() -> Self {
        Self::acting(|_, _| Act::Answer(204))
    }

    /// Starts a receiver that answers by a function of the message and its number, from 1.
    ///
    /// # Panics
    /// As [`Receiver::start`].
    pub fn acting(act: impl Fn(usize, &Received) -> Act + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), act)
    }

    /// Starts a receiver at the address of an earlier one.
    ///
    /// # Panics
    /// When it cannot be had.
    pub fn at(
        address: SocketAddr,
        act: impl Fn(usize, &Received) -> Act + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            act: Box::new(act),
            received: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let router = Router::new().fallback(receive).with_state(shared.clone());
        Self {
            shared,
            server: Serving::start(address, router),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `http://127.0.0.1:<port>/hook`.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address())
    }

    /// Everything that arrived, in order.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// Waits until that many messages have arrived, and returns them.
    ///
    /// # Panics
    /// When they do not within a minute.
    pub async fn got(&self, count: usize) -> Vec<Received> {
        let mut arrived = self.shared.count.subscribe();
        // On the receiver's runtime: the test's clock may be paused, and then it jumps.
        let waiting = self.server.runtime().spawn(async move {
            let enough = arrived.wait_for(|&now| now >= count);
            tokio::time::timeout(PATIENCE, enough).await.is_ok()
        });
        let came = waiting.await.expect("the receiver outlives the wait");
        assert!(came, "waited {PATIENCE:?} for {count} messages");
        self.received()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let message = Received {
        to: uri.to_string(),
        headers,
        body,
    };
    let number = {
        let mut received = lock(&shared.received);
        received.push(message.clone());
        received.len()
    };
    shared.count.send_replace(number);
    let mut answer = Response::new(Body::empty());
    match (shared.act)(number, &message) {
        Act::Answer(status) => *answer.status_mut() = valid(status),
        Act::Redirect(to) => {
            *answer.status_mut() = StatusCode::FOUND;
            let to = to.parse().expect("an address is a header value");
            answer.headers_mut().insert(header::LOCATION, to);
        }
        Act::Busy(seconds) => {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        Act::Hang => std::future::pending().await,
        Act::Endless => {
            let pieces = futures_util::stream::repeat_with(|| {
                Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 4096]))
            });
            *answer.body_mut() = Body::from_stream(pieces);
        }
    }
    answer
}

fn valid(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("the test names a real status")
}

/// A panic of the test must not hide behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
