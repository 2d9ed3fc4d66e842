//! Errors in the shapes that servers and what stands before them send: the sentence and the class
//! survive.

use llm::error::ErrorKind;
use serde_json::{Value, json};

use crate::odd_replies::{EVENTS, JSON, PROVIDERS, reply_to, request};

/// Every dialect tells the same of this error, in a refusal and in place of an answer, whole and
/// streamed.
async fn check(status: &str, body: &str, expected: ErrorKind, part: &str) {
    for provider in PROVIDERS {
        for is_streamed in [false, true] {
            let content_type = if is_streamed { EVENTS } else { JSON };
            let (reply, _) =
                reply_to(provider, &request(is_streamed), status, content_type, body).await;
            let error = reply.unwrap_err();
            assert_eq!(error.kind, expected, "{provider} {status} {body}: {error}");
            assert!(
                error.message.contains(part),
                "{provider} {status} {body}: {error}"
            );
        }
    }
}

/// The shapes that an error comes in, with this sentence.
fn shapes(sentence: &str) -> Vec<Value> {
    vec![
        json!({"error": {"message": sentence}}),
        json!([{"error": {"code": "x", "message": sentence}}]),
        json!({"error": sentence}),
        json!({"error": {"error": {"message": sentence}}}),
        json!({"error": {"message": json!({"error": {"message": sentence}}).to_string()}}),
        json!({"errors": [{"message": sentence}]}),
        json!({"errors": [sentence]}),
        json!({"choices": null, "error": {"message": sentence}}),
        json!({"choices": [{"error": {"message": sentence}, "message": null}], "error": {"message": sentence}}),
        json!({"object": "error", "message": sentence}),
        json!({"type": "error", "error": {"type": "x", "message": sentence}}),
        json!({"detail": sentence}),
        json!({"detail": [{"loc": ["body", "model"], "msg": sentence, "type": "missing"}]}),
        json!({"error": "invalid_client", "error_description": sentence}),
        json!({"error": {"code": "x", "detail": sentence}}),
        json!({"error": {"error_message": sentence}}),
        json!({"error": {"message": "Provider returned error", "metadata": {"raw": json!({"error": {"message": sentence}}).to_string()}}}),
        json!({"status": "error", "msg": sentence}),
    ]
}

#[tokio::test]
async fn the_providers_own_sentence_survives_in_every_shape() {
    for body in shapes("The otters are asleep") {
        let body = body.to_string();
        check(
            "404 Not Found",
            &body,
            ErrorKind::BadRequest,
            "The otters are asleep",
        )
        .await;
        check(
            "503 Unavailable",
            &body,
            ErrorKind::Overloaded,
            "The otters are asleep",
        )
        .await;
        check(
            "200 OK",
            &body,
            ErrorKind::Overloaded,
            "The otters are asleep",
        )
        .await;
    }
}

#[tokio::test]
async fn a_code_inside_is_classed_like_a_status() {
    for (code, kind) in [
        (json!(429), ErrorKind::RateLimit),
        (json!("429"), ErrorKind::RateLimit),
        (json!(402), ErrorKind::QuotaExhausted),
        (json!(401), ErrorKind::Auth),
        (json!(503), ErrorKind::Overloaded),
        (json!("rate_limit_exceeded"), ErrorKind::RateLimit),
        (json!("insufficient_quota"), ErrorKind::QuotaExhausted),
        (json!("ServiceUnavailable"), ErrorKind::Overloaded),
    ] {
        for body in [
            json!({"error": {"message": "Nap time", "code": code}}),
            json!({"choices": null, "error": {"message": "Nap time", "code": code}}),
            json!([{"error": {"message": "Nap time", "code": code}}]),
            json!({"object": "error", "message": "Nap time", "code": code}),
        ] {
            check("200 OK", &body.to_string(), kind, "Nap time").await;
        }
    }
    // What stands before a server answers with 500 whatever the server said.
    let body = json!({"error": {"message": "Pay first", "code": 402}}).to_string();
    check(
        "500 Internal Server Error",
        &body,
        ErrorKind::QuotaExhausted,
        "Pay first",
    )
    .await;
    let body = json!({"error": {"message": "Insufficient credits. Add more"}}).to_string();
    check(
        "200 OK",
        &body,
        ErrorKind::QuotaExhausted,
        "Insufficient credits",
    )
    .await;
    check(
        "402 Payment Required",
        "",
        ErrorKind::QuotaExhausted,
        "(402)",
    )
    .await;
    assert!(!ErrorKind::QuotaExhausted.is_retryable());
}

#[tokio::test]
async fn googles_details_are_read_in_every_dialect() {
    let body = json!([{"error": {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}]}}]);
    for provider in PROVIDERS {
        for status in ["429 Too Many Requests", "200 OK"] {
            let (reply, _) =
                reply_to(provider, &request(false), status, JSON, &body.to_string()).await;
            let error = reply.unwrap_err();
            assert_eq!(error.kind, ErrorKind::RateLimit, "{provider}");
            assert_eq!(error.retry_after.unwrap().as_secs(), 7, "{provider}");
        }
    }
    let body = json!([{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}]);
    check(
        "400 Bad Request",
        &body.to_string(),
        ErrorKind::Auth,
        "API key not valid",
    )
    .await;
}

#[tokio::test]
async fn an_error_framed_as_an_event_is_read() {
    let event = "event: error\ndata: {\"error\": {\"message\": \"Nap time\", \"code\": 429}}\n\n";
    check("200 OK", event, ErrorKind::RateLimit, "Nap time").await;
    check(
        "429 Too Many Requests",
        event,
        ErrorKind::RateLimit,
        "Nap time",
    )
    .await;
}

#[tokio::test]
async fn a_text_in_place_of_an_answer_is_told() {
    check(
        "200 OK",
        "upstream is asleep",
        ErrorKind::BadReply,
        "upstream is asleep",
    )
    .await;
    check(
        "200 OK",
        "data: upstream is asleep\n\n",
        ErrorKind::BadReply,
        "upstream is asleep",
    )
    .await;
    check(
        "503 Unavailable",
        "upstream is asleep",
        ErrorKind::Overloaded,
        "upstream is asleep",
    )
    .await;
}

#[tokio::test]
async fn no_answer_and_no_error_is_retried_and_named() {
    for body in [
        json!({"id": null, "choices": null, "created": null, "usage": null}),
        json!({"id": "x", "choices": []}),
        json!({"choices": [null]}),
        json!({"choices": [{"index": 0, "message": null, "finish_reason": null}]}),
    ] {
        let (reply, _) =
            reply_to("openai", &request(false), "200 OK", JSON, &body.to_string()).await;
        let error = reply.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadReply, "{body}: {error}");
        assert!(
            error.message.contains("contains no answer and no reason"),
            "{body}: {error}"
        );
    }
}

#[tokio::test]
async fn an_end_for_the_providers_own_reasons_is_the_providers_fault_and_named() {
    let google = |reason: &str| json!({"candidates": [{"content": {"parts": null}, "finishReason": reason}]});
    let openai =
        json!({"choices": [{"message": {"content": "{\"title"}, "finish_reason": "error"}]});
    let ollama = json!({"message": {"content": ""}, "done": true, "done_reason": "load"});
    for (provider, body, reason) in [
        ("google", google("OTHER"), "OTHER"),
        (
            "google",
            google("MALFORMED_FUNCTION_CALL"),
            "MALFORMED_FUNCTION_CALL",
        ),
        ("openai", openai, "error"),
        ("ollama", ollama, "load"),
    ] {
        for is_streamed in [false, true] {
            let request = request(is_streamed);
            let (reply, _) = reply_to(provider, &request, "200 OK", JSON, &body.to_string()).await;
            let error = reply.unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadReply, "{error}");
            assert!(error.message.contains(&format!("({reason})")), "{error}");
        }
    }
}
