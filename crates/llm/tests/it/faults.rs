//! Servers that fail: what class of error comes of it, and that nothing hangs or leaks.

use std::sync::Arc;
use std::time::Duration;

use llm::chat::{ChatRequest, Content};
use llm::error::ErrorKind;
use llm::model::{ModelSpec, Models};
use llm::{Registry, Settings};
use serde_json::json;
use testing::{FakeModel, Reply};

use crate::ask::{ask, free, registry, review, shaped, streamed};
use crate::raw::{Raw, answer};

async fn failure(reply: Reply, request: &ChatRequest) -> llm::Error {
    let server = FakeModel::scripted([reply]);
    let models = registry(&[
        ("OPENAI_BASE_URL", &server.base_url()),
        ("OPENAI_API_KEY", "sk-secret"),
    ]);
    ask(&models, "openai/m", request).await.0.unwrap_err()
}

/// Whole and streamed answers fail alike, in a class that is retryable exactly when it says so.
async fn check(reply: Reply, expected: ErrorKind, retryable: bool, part: &str) {
    for request in [
        shaped("otters", review()),
        streamed(shaped("otters", review())),
    ] {
        let error = failure(reply.clone(), &request).await;
        assert_eq!(
            (error.kind, error.kind.is_retryable()),
            (expected, retryable),
            "{error}"
        );
        assert!(
            error.message.starts_with("openai/m: ") && error.message.contains(part),
            "{error}"
        );
        assert!(!error.message.contains("sk-secret"), "{error}");
    }
}

#[tokio::test]
async fn statuses() {
    check(
        Reply::status(500),
        ErrorKind::Overloaded,
        true,
        "the server failed or is overloaded (500)",
    )
    .await;
    check(Reply::status(503), ErrorKind::Overloaded, true, "(503)").await;
    check(
        Reply::status(401),
        ErrorKind::Auth,
        false,
        "check OPENAI_API_KEY",
    )
    .await;
    check(
        Reply::status(404),
        ErrorKind::BadRequest,
        false,
        "check `model` and `api_base`",
    )
    .await;
    let echo = json!({"error": {"message": "key sk-secret: maximum context length is 8"}});
    check(
        Reply::status(400).error_body(echo),
        ErrorKind::ContextTooLong,
        false,
        "key ***",
    )
    .await;
}

#[tokio::test]
async fn a_rate_limit_says_how_long_to_wait() {
    let error = failure(Reply::status(429).retry_after(2), &free("otters")).await;
    assert_eq!(
        (error.kind, error.status, error.retry_after),
        (
            ErrorKind::RateLimit,
            Some(429),
            Some(Duration::from_secs(2))
        )
    );

    let headers =
        "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:07 GMT\r\n";
    let server = Raw::serving([answer("429 Too Many Requests", headers, "")]).await;
    let models = registry(&[("ANTHROPIC_BASE_URL", &server.base())]);
    let error = ask(&models, "anthropic/m", &free("otters"))
        .await
        .0
        .unwrap_err();
    assert_eq!(
        (error.kind, error.retry_after),
        (ErrorKind::RateLimit, Some(Duration::from_secs(30)))
    );
}

#[tokio::test]
async fn answers_that_break_off() {
    check(
        Reply::truncated("half of it"),
        ErrorKind::Network,
        true,
        "broke in the middle of the answer",
    )
    .await;
}

#[tokio::test]
async fn a_stream_that_ends_early_without_an_error_is_no_answer() {
    let half =
        "data: {\"choices\":[{\"delta\":{\"content\":\"half\"},\"finish_reason\":null}]}\n\n";
    let server = Raw::serving([answer(
        "200 OK",
        "content-type: text/event-stream\r\n",
        half,
    )])
    .await;
    let models = registry(&[("OPENAI_BASE_URL", &server.base())]);
    let (reply, pieces) = ask(&models, "openai/m", &streamed(free("otters"))).await;
    let error = reply.unwrap_err();
    assert_eq!((error.kind, pieces.as_str()), (ErrorKind::Network, "half"));
    assert!(
        error
            .message
            .contains("ended before the answer was complete"),
        "{error}"
    );
}

#[tokio::test]
async fn an_error_inside_a_stream() {
    let error = "data: {\"error\":{\"message\":\"overheated\",\"type\":\"server_error\"}}\n\n";
    let server = Raw::serving([answer(
        "200 OK",
        "content-type: text/event-stream\r\n",
        error,
    )])
    .await;
    let models = registry(&[("OPENAI_BASE_URL", &server.base())]);
    let error = ask(&models, "openai/m", &streamed(free("otters")))
        .await
        .0
        .unwrap_err();
    assert_eq!(
        (error.kind, error.status),
        (ErrorKind::Overloaded, Some(500))
    );
    assert!(error.message.contains("overheated"), "{error}");
}

#[tokio::test]
async fn connections_cut_before_the_answer_and_never_made() {
    let server = Raw::serving([String::new()]).await;
    let models = registry(&[("OPENAI_BASE_URL", &server.base())]);
    let error = ask(&models, "openai/m", &free("otters"))
        .await
        .0
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network, "{error}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let error = ask(
        &registry(&[("OPENAI_BASE_URL", &base)]),
        "openai/m",
        &free("otters"),
    )
    .await
    .0
    .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network);
    assert!(
        error.message.contains("check that the server is running"),
        "{error}"
    );
}

#[tokio::test]
async fn silence_ends_a_call() {
    let mut request = free("otters");
    request.timeout = Duration::from_millis(200);
    let error = failure(Reply::hang(), &request).await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(
        error.message.contains("no complete answer within 0.2 s"),
        "{error}"
    );
    let error = failure(Reply::hang_midway("half of it"), &request).await;
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");

    let error = failure(Reply::hang_midway("half of it"), &streamed(free("otters"))).await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(
        error.message.contains("the stream was silent for 1 s"),
        "{error}"
    );
}

#[tokio::test]
async fn bodies_are_bounded() {
    check(
        Reply::huge(1_000_000),
        ErrorKind::BadReply,
        true,
        "longer than 200000 bytes",
    )
    .await;
}

#[tokio::test]
async fn foreign_bodies_are_no_answers() {
    check(
        Reply::garbage(),
        ErrorKind::BadReply,
        true,
        "does not follow openai's protocol",
    )
    .await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Raw::serving([answer("302 Found", "location: http://127.0.0.1:9/\r\n", "")]).await;
    let models = registry(&[("OPENAI_BASE_URL", &server.base()), ("OPENAI_API_KEY", "k")]);
    let error = ask(&models, "openai/m", &free("otters"))
        .await
        .0
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadRequest);
    assert!(
        error
            .message
            .contains("set `api_base` to the address it redirects to"),
        "{error}"
    );
}

#[tokio::test]
async fn dropping_a_call_aborts_it() {
    let server = FakeModel::scripted([Reply::hang(), Reply::hang_midway("half of it")]);
    let models = Arc::new(registry(&[("OPENAI_BASE_URL", &server.base_url())]));
    for (call, stream) in [false, true].into_iter().enumerate() {
        let model = models.find(&ModelSpec::parse("openai/m").unwrap()).unwrap();
        let request = ChatRequest {
            stream,
            ..free("otters")
        };
        let asking = tokio::spawn(async move { model.chat(&request, &|_| {}).await });
        server.called(call + 1).await;
        asking.abort();
        server.disconnected(call + 1).await;
    }
}

#[tokio::test]
async fn many_huge_answers_at_once_are_all_read_within_the_memory_that_is_set_aside() {
    let server = FakeModel::answering(|_| Reply::text("x".repeat(190_000)));
    let base = server.base_url();
    let settings = Settings {
        environment: [("OPENAI_BASE_URL", base.as_str())].into_iter().collect(),
        max_body_bytes: 300_000,
        // Room for one, and for a part of others.
        max_bodies_bytes: 350_000,
        ..Settings::default()
    };
    let models = Arc::new(Registry::new(settings).unwrap());
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let models = Arc::clone(&models);
        asking.spawn(async move { ask(&*models, "openai/m", &free("otters")).await.0 });
    }
    while let Some(reply) = asking.join_next().await {
        let Content::Text(text) = reply.unwrap().unwrap().content else {
            panic!("structure unasked");
        };
        assert_eq!(text.len(), 190_000);
    }
}
