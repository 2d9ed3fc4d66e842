//! What a provider leaves out of its counts is unknown, not nothing.

use llm::chat::{ChatReply, ChatRequest, Content, Usage};
use llm::error::Spent;
use llm::model::{ModelSpec, Models};
use llm::tokens::{estimate, estimate_prompt};
use serde_json::{Value, json};

use crate::ask::{ask, free, registry, review, shaped};
use crate::raw::{Raw, answer};

const PROMPT: &str = "a question of some forty characters, in one line";
const ANSWER: &str = "an answer of eight tokens, or so";

/// A whole answer in the dialect of the provider, with these counts in it.
fn body(provider: &str, counts: &Value) -> Value {
    let mut body = match provider {
        "openai" => {
            json!({"choices": [{"message": {"content": ANSWER}, "finish_reason": "stop"}]})
        }
        "anthropic" => {
            json!({"content": [{"type": "text", "text": ANSWER}], "stop_reason": "end_turn"})
        }
        "google" => {
            json!({"candidates": [{"content": {"parts": [{"text": ANSWER}]}, "finishReason": "STOP"}]})
        }
        _ => json!({"message": {"content": ANSWER}, "done": true, "done_reason": "stop"}),
    };
    let body_keys = body.as_object_mut().unwrap();
    body_keys.extend(counts.as_object().unwrap().clone());
    body
}

async fn reply(provider: &str, counts: Value) -> ChatReply {
    let body = body(provider, &counts).to_string();
    let json = "content-type: application/json\r\n";
    let server = Raw::serving([answer("200 OK", json, &body)]).await;
    let base = server.base();
    let models = registry(&[
        ("OPENAI_BASE_URL", &base),
        ("ANTHROPIC_BASE_URL", &base),
        ("ANTHROPIC_API_KEY", "key"),
        ("GOOGLE_GEMINI_BASE_URL", &base),
        ("GOOGLE_API_KEY", "key"),
        ("OLLAMA_HOST", &base),
    ]);
    let model = format!("{provider}/m");
    let reply = ask(&models, &model, &free(PROMPT)).await.0.unwrap();
    assert_eq!(
        reply.content,
        Content::Text(ANSWER.to_owned()),
        "{provider}"
    );
    reply
}

async fn check(provider: &str, counts: Value, expected: (u64, u64, bool)) {
    let usage = reply(provider, counts.clone()).await.usage;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.is_estimated),
        expected,
        "{provider} {counts}"
    );
}

#[tokio::test]
async fn counts_that_are_left_out_are_estimated_from_the_text() {
    let (prompt, text) = (estimate_prompt(&free(PROMPT)), estimate(ANSWER));
    assert!(prompt > 12 && text == 8, "{prompt} {text}");
    for provider in ["openai", "anthropic", "google", "ollama"] {
        check(provider, json!({}), (prompt, text, true)).await;
    }
    check("openai", json!({"usage": null}), (prompt, text, true)).await;
    check("ollama", json!({"eval_count": 7}), (prompt, 7, true)).await;
    let half = json!({"usageMetadata": {"promptTokenCount": 30}});
    check("google", half, (30, text, true)).await;
    let half = json!({"usage": {"output_tokens": 7}});
    check("anthropic", half, (prompt, 7, true)).await;
}

#[tokio::test]
async fn a_count_of_0_or_beyond_reason_is_no_count() {
    let (prompt, text) = (estimate_prompt(&free(PROMPT)), estimate(ANSWER));
    let zeros = json!({"usage": {"prompt_tokens": 0, "completion_tokens": 0}});
    check("openai", zeros, (prompt, text, true)).await;
    let absurd = json!({"usage": {"prompt_tokens": u64::MAX, "completion_tokens": 1_u64 << 62}});
    check("openai", absurd, (prompt, text, true)).await;
}

#[tokio::test]
async fn counts_that_are_given_are_taken_as_they_are() {
    let counts = json!({"usage": {"prompt_tokens": 30, "completion_tokens": 7}});
    check("openai", counts, (30, 7, false)).await;
    let counts = json!({"prompt_eval_count": 30, "eval_count": 7});
    check("ollama", counts, (30, 7, false)).await;
}

#[test]
fn what_is_set_aside_is_what_is_really_sent_and_a_token_for_each_byte() {
    let models = registry(&[("ANTHROPIC_API_KEY", "key"), ("OPENAI_API_KEY", "key")]);
    let most = |model: &str, request: &ChatRequest| {
        let spec = ModelSpec::parse(model).unwrap();
        models.find(&spec).unwrap().usage_ceiling(request)
    };
    // A token for each of these: a tokenizer that knows no such sign has only their bytes.
    let rare = free(&"𒀱".repeat(1_000));
    for (model, answer) in [("anthropic/m", 8_192), ("openai/m", 4_096)] {
        let most_of_it = most(model, &rare);
        assert!(most_of_it.input_tokens >= 4_000, "{most_of_it:?}");
        assert_eq!(most_of_it.output_tokens, answer, "{model}");
        let mut bound = free(PROMPT);
        bound.max_tokens = Some(77);
        assert_eq!(most(model, &bound).output_tokens, 77);
        let schema = shaped(PROMPT, review());
        let more = most(model, &schema).input_tokens - most(model, &free(PROMPT)).input_tokens;
        assert!(more >= review().to_string().len() as u64, "{more}");
    }
}

/// What the error of a call says that it took.
async fn spent(bytes: Vec<u8>, stream: bool) -> Spent {
    let server = Raw::serving([bytes]).await;
    let models = registry(&[("OPENAI_BASE_URL", &server.base())]);
    let mut request = free(PROMPT);
    request.stream = stream;
    ask(&models, "openai/m", &request)
        .await
        .0
        .unwrap_err()
        .spent
}

#[tokio::test]
async fn an_error_says_whether_its_call_may_have_been_paid() {
    let json = "content-type: application/json\r\n";
    let refused = answer("400 Bad Request", json, r#"{"error": {"message": "no"}}"#);
    assert_eq!(spent(refused.into(), false).await, Spent::Nothing);
    let no_protocol = answer("200 OK", json, "<html>");
    assert_eq!(spent(no_protocol.into(), false).await, Spent::Unknown);
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\ncontent-type: application/json\r\n\r\n{";
    assert_eq!(spent(cut.into(), false).await, Spent::Unknown);
    let events = "content-type: text/event-stream\r\n";
    let truncated = answer("200 OK", events, "data: {\"choices\": []}\n\n");
    assert_eq!(spent(truncated.into(), true).await, Spent::Unknown);
    let filtered = json!({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 7}});
    let filtered = answer("200 OK", json, &filtered.to_string());
    assert_eq!(
        spent(filtered.into(), false).await,
        Spent::Tokens(Usage {
            input_tokens: 30,
            output_tokens: 7,
            ..Usage::default()
        })
    );
    let nobody = registry(&[("OPENAI_BASE_URL", "http://127.0.0.1:1")]);
    let error = ask(&nobody, "openai/m", &free(PROMPT)).await.0.unwrap_err();
    assert_eq!(error.spent, Spent::Nothing);
}
