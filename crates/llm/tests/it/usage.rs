//! What a provider leaves out of its counts is unknown, not nothing.

use llm::chat::{ChatReply, Content};
use llm::tokens::{estimate, estimate_prompt};
use serde_json::{Value, json};

use crate::ask::{ask, free, registry};
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
async fn a_count_of_0_for_a_text_is_no_count() {
    let (prompt, text) = (estimate_prompt(&free(PROMPT)), estimate(ANSWER));
    let zeros = json!({"usage": {"prompt_tokens": 0, "completion_tokens": 0}});
    check("openai", zeros, (prompt, text, true)).await;
}

#[tokio::test]
async fn counts_that_are_given_are_taken_as_they_are() {
    let counts = json!({"usage": {"prompt_tokens": 30, "completion_tokens": 7}});
    check("openai", counts, (30, 7, false)).await;
    let counts = json!({"prompt_eval_count": 30, "eval_count": 7});
    check("ollama", counts, (30, 7, false)).await;
}
