//! A server for what a program sends out by itself, such as telemetry: it takes everything, or
//! misbehaves.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::serving::Serving;

/// Longest body that is kept.
const MAX_BODY: usize = 64 << 20;

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes it. The answer is JSON that has what MLflow's answers have.
    Fine,
    /// Answers with this status.
    Status(u16),
    /// Never answers.
    Hang,
    /// Never answers at paths that begin so.
    HangAt(&'static str),
}

/// A request that arrived, whatever became of it.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Path and query.
    pub path: String,
    /// As they came.
    pub headers: HeaderMap,
    /// The body as it arrived.
    pub body: Bytes,
}

impl Arrived {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A running sink; stops on drop.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    server: Serving,
}

#[derive(Debug)]
struct Shared {
    manner: Mutex<Manner>,
    received: Mutex<Vec<Arrived>>,
}

impl Sink {
    /// On a free port.
    ///
    /// # Panics
    /// When no port of 127.0.0.1 can be had.
    pub fn start(manner: Manner) -> Self {
        Self::start_on(0, manner)
    }

    /// On that port.
    ///
    /// # Panics
    /// When it cannot be had.
    pub fn start_on(port: u16, manner: Manner) -> Self {
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            received: Mutex::default(),
        });
        let router = Router::new().fallback(take).with_state(shared.clone());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            shared,
            server: Serving::start(address, router),
        }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// From now on.
    pub fn set(&self, manner: Manner) {
        *lock(&self.shared.manner) = manner;
    }

    /// Everything that has arrived at paths that begin so, in order.
    pub fn received(&self, path: &str) -> Vec<Arrived> {
        let received = lock(&self.shared.received);
        let wanted = received
            .iter()
            .filter(|received| received.path.starts_with(path));
        wanted.cloned().collect()
    }
}

async fn take(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let path = parts.uri.to_string();
    let runs = if path.ends_with("/runs/search") {
        let filter = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        runs_found(
            &lock(&shared.received),
            filter["filter"].as_str().unwrap_or_default(),
        )
    } else {
        Vec::new()
    };
    let number = {
        let mut received = lock(&shared.received);
        received.push(Arrived {
            path: path.clone(),
            headers: parts.headers,
            body,
        });
        received.len()
    };
    let manner = *lock(&shared.manner);
    match manner {
        Manner::HangAt(prefix) if path.starts_with(prefix) => std::future::pending().await,
        Manner::Fine | Manner::HangAt(_) => axum::Json(json!({
            "experiment_id": "1",
            "runs": runs,
            "experiment": {"experiment_id": "1", "lifecycle_stage": "active"},
            "run": {"info": {"run_id": format!("run-{number}"), "experiment_id": "1",
                "artifact_uri": format!("mlflow-artifacts:/1/run-{number}/artifacts")}},
        }))
        .into_response(),
        Manner::Status(status) => StatusCode::from_u16(status)
            .expect("a status")
            .into_response(),
        Manner::Hang => std::future::pending().await,
    }
}

/// The runs that were asked for with a tag whose value the filter names, answered or not.
fn runs_found(received: &[Arrived], filter: &str) -> Vec<Value> {
    let is_found = |arrived: &Arrived| {
        let body = arrived.json();
        let tags = body["tags"].as_array().into_iter().flatten();
        arrived.path.ends_with("/runs/create")
            && tags
                .filter_map(|tag| tag["value"].as_str())
                .any(|value| filter.contains(&format!("'{value}'")))
    };
    let numbered = received.iter().enumerate();
    let found = numbered.filter(|(_, arrived)| is_found(arrived));
    let run = |(index, _): (usize, &Arrived)| {
        let id = format!("run-{}", index + 1);
        json!({"info": {"run_id": id, "experiment_id": "1", "artifact_uri": format!("mlflow-artifacts:/1/{id}/artifacts")}})
    };
    found.map(run).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
