//! The contents of a model call in the formats of the conventions and of MLflow.

use engine::chat::{ChatReply, ChatRequest, FinishReason, Part, Role};
use serde_json::{Value, json};

use crate::capture::Shown;

/// The value of `gen_ai.input.messages`; only if prompts are shown in full.
pub(super) fn conventional_inputs(
    shown: &Shown,
    node: &str,
    request: &ChatRequest,
) -> Option<String> {
    if !shown.shows_prompts(node) {
        return None;
    }
    let messages = request.messages.iter().filter_map(|message| {
        let parts = message.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(shown.prompt(node, text).map(|text| {
                json!({"type": "text", "content": text.as_str()})
            })),
            Part::ToolCall(call) => Some(shown.prompt(node, &call.arguments.text()).map(|text| {
                json!({
                    "type": "tool_call", "id": call.id, "name": call.name,
                    "arguments": text.as_str(),
                })
            })),
            Part::ToolResult(result) => Some(shown.prompt(node, &result.content).map(|text| {
                json!({"type": "tool_call_response", "id": result.call_id, "response": text.as_str()})
            })),
            // Nothing that a reader could make sense of.
            Part::Opaque(_) => None,
        });
        let parts = parts.collect::<Option<Vec<_>>>()?;
        Some(json!({"role": role(message.role), "parts": parts}))
    });
    Some(Value::Array(messages.collect()).to_string())
}

/// The value of `gen_ai.output.messages`; only if replies are shown in full.
pub(super) fn conventional_outputs(shown: &Shown, node: &str, reply: &ChatReply) -> Option<String> {
    if !shown.shows_prompts(node) {
        return None;
    }
    let text = shown.reply(node, &reply.content)?;
    let message = json!([{
        "role": "assistant",
        "parts": [{"type": "text", "content": text.as_str()}],
        "finish_reason": finish(reply.finish),
    }]);
    Some(message.to_string())
}

/// The request in MLflow's chat format.
pub(super) fn mlflow_inputs(
    shown: &Shown,
    node: &str,
    request: &ChatRequest,
    model: &str,
) -> Option<String> {
    let messages = request.messages.iter().map(|message| {
        let text = shown.prompt(node, &message.text())?;
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

/// The reply in MLflow's chat format.
pub(super) fn mlflow_outputs(shown: &Shown, node: &str, reply: &ChatReply) -> Option<String> {
    let text = shown.reply(node, &reply.content)?;
    let outputs = json!({"choices": [{
        "index": 0,
        "message": {"role": "assistant", "content": text.as_str()},
        "finish_reason": finish(reply.finish),
    }]});
    Some(outputs.to_string())
}

pub(super) fn finish(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Other => "stop",
        FinishReason::Length | FinishReason::ContextWindow => "length",
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
