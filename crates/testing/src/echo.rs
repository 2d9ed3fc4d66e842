//! A provider that repeats the secrets it is sent: every header's value, wherever an answer has a
//! place for text.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use crate::serving::Serving;

/// Longest body that is read.
const MAX_BODY: usize = 1 << 20;

/// A running server; stops on drop. The first part of a request's path says how it answers, one of
/// [`Echo::WAYS`].
#[derive(Debug)]
pub struct Echo {
    heard: Arc<Heard>,
    server: Serving,
}

#[derive(Debug, Default)]
struct Heard {
    calls: AtomicUsize,
    values: Mutex<String>,
}

impl Echo {
    /// How it answers: a refusal of the key with the echo in the error; a failure as plain text; a
    /// redirect; a status of success with an error in its place, in one piece or streamed;
    /// something that is no answer; and an answer whose model is the echo (in `OpenAI`'s form).
    pub const WAYS: [&str; 7] = [
        "refuse", "fail", "redirect", "error", "stream", "garble", "model",
    ];

    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When none can be had.
    pub fn start() -> Self {
        let heard = Arc::new(Heard::default());
        let router = Router::new().fallback(answer).with_state(heard.clone());
        Self {
            heard,
            server: Serving::start(([127, 0, 0, 1], 0).into(), router),
        }
    }

    /// `127.0.0.1:<port>`.
    pub fn authority(&self) -> String {
        self.server.address().to_string()
    }

    /// How many requests arrived.
    pub fn calls(&self) -> usize {
        self.heard.calls.load(Ordering::Relaxed)
    }

    /// Whether a header of any request contained that text.
    pub fn has_heard(&self, text: &str) -> bool {
        let values = self.heard.values.lock();
        values
            .unwrap_or_else(PoisonError::into_inner)
            .contains(text)
    }
}

async fn answer(State(heard): State<Arc<Heard>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let values = parts
        .headers
        .values()
        .filter_map(|value| value.to_str().ok());
    let echo = values.collect::<Vec<_>>().join(" ");
    heard.calls.fetch_add(1, Ordering::Relaxed);
    heard
        .values
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push_str(&echo);
    let streamed = serde_json::from_slice(&body).is_ok_and(|body: Value| body["stream"] == true);
    let way = parts.uri.path().split('/').nth(1).unwrap_or_default();
    let message = format!("the server was sent {echo}");
    // As model providers and as MLflow word it.
    let error = json!({
        "error": {"message": message, "type": "server_error", "code": echo, "status": echo},
        "type": "error", "error_code": echo, "message": message,
    });
    let (status, kind, text) = match way {
        "refuse" => (401, JSON, error.to_string()),
        "fail" => (500, "text/plain", format!("it broke, with {echo}")),
        "redirect" => (307, "text/plain", format!("it moved, says {echo}")),
        "error" => (200, JSON, error.to_string()),
        "stream" => (200, EVENTS, format!("event: error\ndata: {error}\n\n")),
        "model" if streamed => {
            let chunk = json!({"model": echo, "choices": [{"index": 0, "finish_reason": "stop",
                "delta": {"content": "{\"result\": \"fine\"}"}}]});
            (200, EVENTS, format!("data: {chunk}\n\ndata: [DONE]\n\n"))
        }
        "model" => {
            let whole = json!({"model": echo, "choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "{\"result\": \"fine\"}"}}]});
            (200, JSON, whole.to_string())
        }
        _ => (200, JSON, format!("{echo} is no JSON")),
    };
    let mut response = Response::new(Body::from(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a real status");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let echo = HeaderValue::try_from(format!("/{}", echo.replace(' ', "-"))).expect("it was one");
    headers.insert(header::LOCATION, echo.clone());
    headers.insert("x-request-id", echo.clone());
    headers.insert(header::RETRY_AFTER, echo);
    response
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
