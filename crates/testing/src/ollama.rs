//! A small Ollama: its chat API on a port of its own, checked against Ollama's Python client by the
//! tests of `llm`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::conforming;

/// A running fake server; stops on drop. It has one model, [`FakeOllama::MODEL`], which answers
/// `R:<prompt>`, or a value that conforms to the request's `format` and has such strings.
#[derive(Debug)]
pub struct FakeOllama {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Value>>>,
    server: JoinHandle<()>,
}

impl FakeOllama {
    /// Name of its only model.
    pub const MODEL: &str = "llama3.2";
    /// A prompt whose answer fails half way.
    pub const BREAK: &str = "break";

    /// Starts on the caller's runtime.
    ///
    /// # Panics
    /// When no port of 127.0.0.1 can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port of 127.0.0.1");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let seen = Arc::new(Mutex::default());
        let router = Router::new()
            .route("/api/chat", post(chat))
            .with_state(Arc::clone(&seen));
        let server = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("axum::serve never fails");
        });
        Self {
            address,
            seen,
            server,
        }
    }

    /// The value of `OLLAMA_HOST`: `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The bodies of every call that arrived, in order.
    pub fn requests(&self) -> Vec<Value> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for FakeOllama {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn chat(State(seen): State<Arc<Mutex<Vec<Value>>>>, Json(request): Json<Value>) -> Response {
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request.clone());
    let model = request["model"].as_str().unwrap_or_default();
    if model != FakeOllama::MODEL {
        let error = format!("model \"{model}\" not found, try pulling it first");
        return (StatusCode::NOT_FOUND, Json(json!({"error": error}))).into_response();
    }
    let prompt = request["messages"]
        .as_array()
        .and_then(|messages| messages.last()?["content"].as_str())
        .unwrap_or_default();
    let text = match &request["format"] {
        Value::Null => format!("R:{prompt}"),
        schema => conforming::value(schema, &format!("R:{prompt}")).to_string(),
    };
    let broken = prompt == FakeOllama::BREAK;
    // Ollama streams unless told not to.
    if request["stream"] == false {
        if broken {
            return (
                StatusCode::INTERNAL_SERVER_ERROR,
                Json(json!({"error": "the runner has died"})),
            )
                .into_response();
        }
        return Json(last(&text)).into_response();
    }
    let mut lines: Vec<Value> = text
        .chars()
        .map(|character| piece(&character.to_string()))
        .collect();
    if broken {
        lines.truncate(lines.len() / 2);
        lines.push(json!({"error": "the runner has died"}));
    } else {
        lines.push(last(""));
    }
    let body = lines
        .iter()
        .fold(String::new(), |body, line| body + &line.to_string() + "\n");
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from(body),
    )
        .into_response()
}

fn piece(text: &str) -> Value {
    json!({
        "model": FakeOllama::MODEL,
        "created_at": "2025-01-31T12:00:00.000000Z",
        "message": {"role": "assistant", "content": text},
        "done": false,
    })
}

fn last(text: &str) -> Value {
    let mut last = piece(text);
    let ending = json!({
        "done": true, "done_reason": "stop", "total_duration": 4_000, "load_duration": 1_000,
        "prompt_eval_count": 26, "prompt_eval_duration": 1_000, "eval_count": 7, "eval_duration": 2_000,
    });
    let fields = ending.as_object().expect("an object above");
    last.as_object_mut()
        .expect("an object above")
        .extend(fields.clone());
    last
}
