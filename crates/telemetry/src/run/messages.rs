//! The contents of a model call in the forms that the conventions and MLflow have for them.

use llm::chat::{ChatReply, ChatRequest, Content, FinishReason, Role};
use serde_json::{Value, json};

use crate::capture::{Capture, Policy, Scope};

/// As in `gen_ai.input.messages`; only where everything may be shown.
pub(super) fn conventional_inputs(
    policy: &Policy,
    scope: Scope<'_>,
    request: &ChatRequest,
) -> Option<String> {
    if policy.capture(scope) != Capture::Full {
        return None;
    }
    let messages = request.messages.iter().filter_map(|message| {
        let text = policy.text(scope, &message.text)?;
        Some(json!({
            "role": role(message.role),
            "parts": [{"type": "text", "content": text.as_str()}],
        }))
    });
    Some(Value::Array(messages.collect()).to_string())
}

/// As in `gen_ai.output.messages`; only where everything may be shown.
pub(super) fn conventional_outputs(
    policy: &Policy,
    scope: Scope<'_>,
    reply: &ChatReply,
) -> Option<String> {
    if policy.capture(scope) != Capture::Full {
        return None;
    }
    let text = policy.text(scope, &text(&reply.content))?;
    let message = json!([{
        "role": "assistant",
        "parts": [{"type": "text", "content": text.as_str()}],
        "finish_reason": finish(reply.finish),
    }]);
    Some(message.to_string())
}

/// The request as MLflow shows a chat.
pub(super) fn mlflow_inputs(
    policy: &Policy,
    scope: Scope<'_>,
    request: &ChatRequest,
    model: &str,
) -> Option<String> {
    let messages = request.messages.iter().map(|message| {
        let text = policy.text(scope, &message.text)?;
        Some(json!({"role": role(message.role), "content": text.as_str()}))
    });
    let messages = messages.collect::<Option<Vec<_>>>()?;
    let mut inputs = json!({"model": model, "messages": messages});
    if let Some(temperature) = request.temperature {
        inputs["temperature"] = json!(temperature);
    }
    if let Some(max_tokens) = request.max_tokens {
        inputs["max_tokens"] = json!(max_tokens);
    }
    Some(inputs.to_string())
}

/// The reply as MLflow shows a chat.
pub(super) fn mlflow_outputs(
    policy: &Policy,
    scope: Scope<'_>,
    reply: &ChatReply,
) -> Option<String> {
    let text = policy.text(scope, &text(&reply.content))?;
    let outputs = json!({"choices": [{
        "index": 0,
        "message": {"role": "assistant", "content": text.as_str()},
        "finish_reason": finish(reply.finish),
    }]});
    Some(outputs.to_string())
}

pub(super) fn text(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Json(value) => value.to_string(),
    }
}

pub(super) fn finish(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Other => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCall => "tool_call",
        FinishReason::ContentFilter => "content_filter",
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}
