//! Addresses as people write them, and servers that are not what the address says.

use llm::error::ErrorKind;
use serde_json::json;
use testing::FakeModel;

use crate::ask::{ask, free, registry};
use crate::raw::{Raw, answer};

const ANSWER: &str = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;

fn answered() -> String {
    answer("200 OK", "content-type: application/json\r\n", ANSWER)
}

/// The error of one question to a server at this base address.
async fn refused(base: &str) -> llm::Error {
    let models = registry(&[
        ("OPENAI_BASE_URL", base),
        ("OPENAI_API_KEY", "sk-secret-key"),
    ]);
    ask(&models, "openai/m", &free("otters"))
        .await
        .0
        .unwrap_err()
}

#[track_caller]
fn check(error: &llm::Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind, kind, "{error}");
    for part in parts {
        assert!(error.message.contains(part), "{error}");
    }
}

#[tokio::test]
async fn azures_version_and_key_are_sent_as_azure_wants_them() {
    let server = Raw::serving([answered()]).await;
    let base = format!(
        "{}/openai/deployments/gpt?api-version=2024-10-21",
        server.base()
    );
    let models = registry(&[("OPENAI_BASE_URL", &base), ("OPENAI_API_KEY", "k1")]);
    ask(&models, "openai/m", &free("otters")).await.0.unwrap();
    let head = server.heads().remove(0);
    assert!(
        head.starts_with("post /openai/deployments/gpt/chat/completions?api-version=2024-10-21 "),
        "{head}"
    );
    assert!(head.contains("api-key: k1"), "{head}");
    assert!(!head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn a_whole_endpoint_is_as_good_as_a_base() {
    let server = FakeModel::start();
    let base = format!("{}/chat/completions", server.base_url());
    let models = registry(&[("OPENAI_BASE_URL", &base)]);
    ask(&models, "openai/m", &free("otters")).await.0.unwrap();
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_redirect_names_where_it_leads() {
    let location =
        "location: https://user:pw@new.example/v2/chat/completions?key=sk-secret-key#x\r\n";
    let server = Raw::serving([answer("308 Permanent Redirect", location, "")]).await;
    let error = refused(&server.base()).await;
    check(
        &error,
        ErrorKind::BadRequest,
        &["it redirects to https://new.example/v2/chat/completions; set `api_base`"],
    );
    assert!(!error.message.contains("sk-secret-key"), "{error}");
    let server = Raw::serving([answer("307 Temporary Redirect", "location: /v2\r\n", "")]).await;
    let expected = format!("it redirects to {}/v2;", server.base());
    check(
        &refused(&server.base()).await,
        ErrorKind::BadRequest,
        &[&expected],
    );
}

#[tokio::test]
async fn https_to_a_plain_port_says_so() {
    let server = FakeModel::start();
    let error = refused(&format!("https://{}/v1", server.address())).await;
    check(
        &error,
        ErrorKind::Config,
        &["does not speak TLS", "write `http://`"],
    );
}

#[tokio::test]
async fn plain_http_to_a_tls_port_says_so() {
    // The alert of a TLS server that was sent something else.
    let server = Raw::serving([b"\x15\x03\x01\x00\x02\x02\x46".to_vec()]).await;
    check(
        &refused(&server.base()).await,
        ErrorKind::Config,
        &["does not answer in HTTP", "write `https://`"],
    );
}

#[tokio::test]
async fn a_packing_that_was_not_offered_is_named_and_not_paid_again() {
    for name in ["br", "zstd"] {
        let headers = format!("content-type: application/json\r\ncontent-encoding: {name}\r\n");
        let server = Raw::serving([answer("200 OK", &headers, "\u{1}\u{2}")]).await;
        let error = refused(&server.base()).await;
        let expected = format!("compresses its answers as `{name}`");
        check(
            &error,
            ErrorKind::Config,
            &[&expected, "only gzip was offered"],
        );
        assert!(!error.kind.is_retryable());
        let server = Raw::serving([answer("503 Unavailable", &headers, "\u{1}\u{2}")]).await;
        check(
            &refused(&server.base()).await,
            ErrorKind::Overloaded,
            &["(503)"],
        );
    }
}

#[tokio::test]
async fn a_short_key_is_not_masked_out_of_words_and_a_real_one_is_in_every_form() {
    let base64 = "dXNlcjpzay1zZWNyZXQta2V5";
    let said = json!({"error": {"message": format!("next prefix: sk-secret-key, Basic {base64}")}});
    let body = said.to_string();
    let failing = || {
        answer(
            "400 Bad Request",
            "content-type: application/json\r\n",
            &body,
        )
    };
    let server = Raw::serving([failing()]).await;
    check(
        &refused(&server.base()).await,
        ErrorKind::BadRequest,
        &["next prefix: ***, Basic dXNlcjp***"],
    );
    let server = Raw::serving([failing()]).await;
    let models = registry(&[("OPENAI_BASE_URL", &server.base()), ("OPENAI_API_KEY", "x")]);
    let error = ask(&models, "openai/m", &free("otters"))
        .await
        .0
        .unwrap_err();
    check(
        &error,
        ErrorKind::BadRequest,
        &["next prefix: sk-secret-key"],
    );
}
