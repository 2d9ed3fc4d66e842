//! Servers on free ports, and requests to them.

use std::process::Command;
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use testing::{FakeModel, TempProject};

use crate::support::{PATIENCE, Running, flowmill, words};

/// A server on a free port.
pub(crate) fn start(project: &TempProject, line: &str) -> Running {
    Running::start(&mut serve(project, line))
}

/// The command of a server on a free port.
pub(crate) fn serve(project: &TempProject, line: &str) -> Command {
    let mut command = flowmill(project.root(), words("serve --port 0"));
    command.args(words(line));
    command
}

/// A server whose runs ask `model`.
pub(crate) fn start_with(model: &FakeModel, project: &TempProject, line: &str) -> Running {
    start_as("none", model, project, line)
}

/// A server whose runs ask `model`, which can tell it by its key.
pub(crate) fn start_as(key: &str, model: &FakeModel, project: &TempProject, line: &str) -> Running {
    Running::start(ask(key, model, &mut serve(project, line)))
}

/// Lets a server's runs ask `model`.
pub(crate) fn ask<'a>(key: &str, model: &FakeModel, server: &'a mut Command) -> &'a mut Command {
    server
        .args(["--model", "openai/test"])
        .env("OPENAI_BASE_URL", model.base_url())
        .env("OPENAI_API_KEY", key)
}

/// A server whose runs ask `model`, with these variables too.
pub(crate) fn start_in(
    environment: &[(&str, &str)],
    model: &FakeModel,
    project: &TempProject,
    line: &str,
) -> Running {
    let mut command = serve(project, line);
    command
        .args(["--model", "openai/test"])
        .env("OPENAI_BASE_URL", model.base_url())
        .env("OPENAI_API_KEY", "none")
        .envs(environment.iter().copied());
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

/// The events of a job after one of them: `Last-Event-ID`.
pub(crate) struct Events {
    response: Response,
    /// Arrived, and not a whole event yet.
    rest: String,
}

impl Events {
    pub(crate) async fn of(url: &str, job: &str, after: u64) -> Self {
        let response = client()
            .get(format!("{url}/jobs/{job}/events"))
            .header("last-event-id", after.to_string())
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200);
        Self {
            response,
            rest: String::new(),
        }
    }

    /// The next stored event; `None` at the end, or when the server goes away.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if field("id: ").is_some() {
                    let data = field("data: ").expect("an event has data");
                    return Some(serde_json::from_str(data).expect("JSON"));
                }
            }
            let bytes = self.response.chunk().await.ok().flatten()?;
            self.rest
                .push_str(std::str::from_utf8(&bytes).expect("these events are ASCII"));
        }
    }

    /// All that are left.
    pub(crate) async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// Waits until something holds. Unlike `FakeModel::called`, this works while the model's own thread
/// is held up.
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
