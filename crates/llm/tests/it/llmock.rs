//! Conformance against llmock, a model server we did not write: it plays OpenAI, Anthropic and
//! Gemini, fails as told, and judges how its client took that.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use llm::chat::{ChatReply, ChatRequest, Content, FinishReason};
use llm::error::ErrorKind;
use llm::{Error, Registry};
use serde_json::{Value, json};
use testing::rigs;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::ask::{ask, conforming, free, registry, review, shaped, streamed};

const MODELS: [&str; 3] = [
    "openai/gpt-4o-mini",
    "anthropic/claude-haiku-4-5",
    "google/gemini-2.0-flash",
];

struct Llmock {
    address: SocketAddr,
    http: reqwest::Client,
    _server: Child,
}

impl Llmock {
    /// `None`: it is not installed, which was said.
    async fn start() -> Option<Self> {
        let program = rigs::program("llmock", "llmock")?;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let port = address.port().to_string();
        let server = Command::new(program)
            // Paced like a real model: of a stream sent all at once, llmock cannot tell whether the
            // client stopped at the fault or read on.
            .args(["serve", "--port", &port, "--stream-chunk-delay-ms", "20"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let up = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), up)
            .await
            .expect("llmock listens");
        // A second test of this process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Some(Self {
            address,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _server: server,
        })
    }

    fn models(&self) -> Registry {
        let base = format!("http://{}", self.address);
        registry(&[
            ("OPENAI_BASE_URL", &format!("{base}/v1")),
            ("ANTHROPIC_BASE_URL", &format!("{base}/anthropic")),
            ("GOOGLE_GEMINI_BASE_URL", &format!("{base}/gemini")),
            ("OPENAI_API_KEY", "k"),
            ("ANTHROPIC_API_KEY", "k"),
            ("GOOGLE_API_KEY", "k"),
        ])
    }

    async fn control(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let request = self
            .http
            .request(method, format!("http://{}/_llmock/{path}", self.address))
            .json(body);
        request
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    async fn will(&self, behavior: Value) {
        self.control(
            reqwest::Method::POST,
            "scenario",
            &json!({"behaviors": [behavior]}),
        )
        .await;
    }

    /// Nothing to object to, warnings included; then forgets everything.
    async fn finds_no_fault(&self) {
        let verdict = self
            .control(reqwest::Method::GET, "verdict", &Value::Null)
            .await;
        assert_eq!(verdict["findings"], json!([]), "{verdict}");
        self.control(reqwest::Method::POST, "reset", &Value::Null)
            .await;
    }
}

/// Asks until it works, as a caller does: a few attempts, with growing pauses, where a retry may
/// help.
async fn ask_patiently(
    models: &Registry,
    model: &str,
    request: &ChatRequest,
) -> (Result<ChatReply, Error>, Vec<ErrorKind>) {
    let mut failures = Vec::new();
    loop {
        let reply = ask(models, model, request).await.0;
        let attempts = failures.len() + 1;
        match reply {
            Err(error) if error.kind.is_retryable() && attempts < 4 => {
                failures.push(error.kind);
                let pause = Duration::from_millis(250 << attempts);
                tokio::time::sleep(error.retry_after.unwrap_or(pause)).await;
            }
            reply => return (reply, failures),
        }
    }
}

#[tokio::test]
async fn structure_streaming_and_usage() {
    let Some(server) = Llmock::start().await else {
        return;
    };
    let models = server.models();
    let nested = json!({
        "type": "object", "required": ["title", "tags", "author"], "additionalProperties": false,
        "properties": {
            "title": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "author": {"type": "object", "required": ["name", "age"], "additionalProperties": false,
                       "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}}},
        },
    });
    for model in MODELS {
        for schema in [review(), nested.clone()] {
            for stream in [false, true] {
                let request = ChatRequest {
                    stream,
                    ..shaped("Review the film Otters, at some length", schema.clone())
                };
                let (reply, pieces) = ask(&models, model, &request).await;
                let details = reply.clone().unwrap();
                let value = conforming(&request, reply);
                if stream {
                    assert_eq!(
                        serde_json::from_str::<Value>(&pieces).unwrap(),
                        value,
                        "{model}"
                    );
                }
                assert!(
                    details.usage.input_tokens > 0 && details.usage.output_tokens > 0,
                    "{model}: {details:?}"
                );
                assert!(details.cost_usd.is_some_and(|cost| cost > 0.0), "{model}");
            }
        }
        for stream in [false, true] {
            let (reply, pieces) = ask(
                &models,
                model,
                &ChatRequest {
                    stream,
                    ..free("Hello")
                },
            )
            .await;
            let reply = reply.unwrap();
            let Content::Text(text) = reply.content else {
                panic!("{model}: structure unasked")
            };
            assert!(
                !text.is_empty() && (!stream || pieces == text),
                "{model}: {text:?}, {pieces:?}"
            );
            assert_eq!(reply.finish, FinishReason::Stop, "{model}");
        }
    }
    server.finds_no_fault().await;
}

#[tokio::test]
async fn limits_of_the_answer_and_filters() {
    let Some(server) = Llmock::start().await else {
        return;
    };
    let models = server.models();
    for model in MODELS {
        server
            .will(json!({"type": "reply", "text": "cut o", "finish_reason": "length"}))
            .await;
        let reply = ask(&models, model, &free("Hello")).await.0.unwrap();
        assert_eq!(
            (reply.finish, reply.content),
            (FinishReason::Length, Content::Text("cut o".to_owned())),
            "{model}"
        );
        server
            .will(json!({"type": "reply", "text": "", "finish_reason": "content_filter"}))
            .await;
        server
            .will(json!({"type": "reply", "text": "", "finish_reason": "content_filter"}))
            .await;
        let error = ask(&models, model, &streamed(shaped("Hello", review())))
            .await
            .0
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::ContentFilter, "{model}: {error}");
        server
            .control(reqwest::Method::POST, "reset", &Value::Null)
            .await;
    }
}

#[tokio::test]
async fn faults_that_pass_are_survived_by_the_book() {
    let Some(server) = Llmock::start().await else {
        return;
    };
    let models = server.models();
    let faults = [
        (
            json!({"type": "fail", "status": 429, "retry_after": 2}),
            false,
            ErrorKind::RateLimit,
        ),
        (
            json!({"type": "fail", "status": 500}),
            false,
            ErrorKind::Overloaded,
        ),
        (
            json!({"type": "fail", "status": 503}),
            true,
            ErrorKind::Overloaded,
        ),
        (
            json!({"type": "stream_fault", "kind": "disconnect", "after_chunks": 1}),
            true,
            ErrorKind::Network,
        ),
        (
            json!({"type": "stream_fault", "kind": "truncate", "after_chunks": 1}),
            true,
            ErrorKind::Network,
        ),
        (
            json!({"type": "stream_fault", "kind": "malformed", "after_chunks": 1}),
            true,
            ErrorKind::BadReply,
        ),
        (
            json!({"type": "stream_fault", "kind": "stall", "after_chunks": 1, "stall_seconds": 20}),
            true,
            ErrorKind::Timeout,
        ),
    ];
    for model in MODELS {
        for (fault, stream, expected) in &faults {
            server.will(fault.clone()).await;
            let request = ChatRequest {
                stream: *stream,
                ..shaped("Review the film Otters, at some length", review())
            };
            let (reply, failures) = ask_patiently(&models, model, &request).await;
            conforming(&request, reply);
            assert_eq!(failures, [*expected], "{model}: {fault}");
            server.finds_no_fault().await;
        }
    }
}

#[tokio::test]
async fn faults_that_stay_are_not_retried() {
    let Some(server) = Llmock::start().await else {
        return;
    };
    let models = server.models();
    let faults = [
        (401, ErrorKind::Auth),
        (403, ErrorKind::Auth),
        (404, ErrorKind::BadRequest),
        (422, ErrorKind::BadRequest),
    ];
    for model in MODELS {
        for (status, expected) in faults {
            server.will(json!({"type": "fail", "status": status})).await;
            let (reply, failures) =
                ask_patiently(&models, model, &free(&format!("Hello {status}"))).await;
            let error = reply.unwrap_err();
            assert_eq!(
                (error.kind, error.status, failures.len()),
                (expected, Some(status), 0),
                "{model}: {error}"
            );
        }
        server.finds_no_fault().await;
    }
}

#[tokio::test]
async fn a_server_that_answers_too_late_is_given_up_in_time() {
    let Some(server) = Llmock::start().await else {
        return;
    };
    let models = server.models();
    for model in MODELS {
        server.will(json!({"type": "delay", "seconds": 20})).await;
        let request = ChatRequest {
            timeout: Duration::from_millis(500),
            ..free("Hello")
        };
        let error = ask(&models, model, &request).await.0.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{model}: {error}");
    }
}
