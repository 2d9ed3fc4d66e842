//! Servers on free ports, and requests to them.

use std::process::Command;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use testing::{FakeModel, TempProject};

use crate::support::{PATIENCE, Running, flowmill, words};

/// A server on a free port.
pub(crate) fn start(project: &TempProject, line: &str) -> Running {
    Running::start(&mut serve(project, line))
}

fn serve(project: &TempProject, line: &str) -> Command {
    let mut command = flowmill(project.root(), words("serve --port 0"));
    command.args(words(line));
    command
}

/// A server whose runs ask `model`.
pub(crate) fn start_with(model: &FakeModel, project: &TempProject, line: &str) -> Running {
    let mut command = serve(project, line);
    command
        .args(["--model", "openai/test"])
        .env("OPENAI_BASE_URL", model.base_url())
        .env("OPENAI_API_KEY", "none");
    Running::start(&mut command)
}

pub(crate) fn client() -> Client {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(PATIENCE)
        .build()
        .expect("a client without TLS roots of its own")
}

/// An answer: status, and body as JSON (null where it is none).
pub(crate) async fn call(
    method: Method,
    url: String,
    prefer: Option<&str>,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let mut request = client().request(method, url);
    if let Some(prefer) = prefer {
        request = request.header("prefer", prefer);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.unwrap_or_default())
}

pub(crate) async fn get(url: String) -> (StatusCode, Value) {
    call(Method::GET, url, None, None).await
}

pub(crate) async fn post(url: String, body: Value) -> (StatusCode, Value) {
    call(Method::POST, url, None, Some(body)).await
}

/// Waits until something holds. Unlike `FakeModel::called`, this works while the model's own thread is held up.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it holds in the end");
}
