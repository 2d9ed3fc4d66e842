//! The attributes of a model call's span.

use engine::ModelError;
use engine::chat::{ChatReply, ChatRequest};
use engine::observer::Call;
use serde_json::json;

use super::messages;
use crate::capture::Shown;
use crate::semconv as name;
use crate::span::{Attributes, Status};

/// The span's name: `chat <model>`.
pub(super) fn title(call: &Call<'_>) -> String {
    format!("{} {}", name::CHAT, provider_and_model(call).1)
}

fn provider_and_model<'a>(call: &Call<'a>) -> (&'a str, &'a str) {
    call.model
        .split_once('/')
        .unwrap_or(("unknown", call.model))
}

/// The attributes and the status of the span.
pub(super) fn told(
    shown: &Shown,
    call: &Call<'_>,
    request: &ChatRequest,
    result: Result<&ChatReply, &ModelError>,
) -> (Attributes, Status) {
    let id = call.node;
    let (provider, model) = provider_and_model(call);
    let mut attributes = Attributes::default();
    attributes.put(name::OPERATION, name::CHAT);
    attributes.put(name::PROVIDER, name::provider(provider));
    attributes.put(name::REQUEST_MODEL, model);
    attributes.put_some(name::REQUEST_TEMPERATURE, request.temperature);
    attributes.put_some(name::REQUEST_MAX_TOKENS, request.max_tokens);
    if request.stream {
        attributes.put(name::REQUEST_STREAM, true);
    }
    if request.output.is_some() {
        attributes.put(name::OUTPUT_TYPE, "json");
    }
    attributes.put(name::ATTEMPT, call.attempt);
    attributes.put_some(
        name::INPUT_MESSAGES,
        messages::conventional_inputs(shown, id, request),
    );
    attributes.mlflow(name::MLFLOW_TYPE, "CHAT_MODEL");
    attributes.mlflow(name::MLFLOW_PROVIDER, provider);
    if let Some(inputs) = messages::mlflow_inputs(shown, id, request, model) {
        attributes.mlflow(name::MLFLOW_INPUTS, inputs);
    }
    let status = match result {
        Ok(reply) => {
            of_reply(&mut attributes, shown, id, reply);
            Status::Ok
        }
        Err(error) => {
            attributes.mlflow(name::MLFLOW_MODEL, model);
            attributes.put(name::ERROR_TYPE, name::error_type(error.kind));
            attributes.put_some(name::HTTP_STATUS, error.status.map(u32::from));
            Status::Error(shown.sentence(&error.message).into_string())
        }
    };
    (attributes, status)
}

fn of_reply(attributes: &mut Attributes, shown: &Shown, node: &str, reply: &ChatReply) {
    let usage = reply.usage;
    attributes.put(name::RESPONSE_MODEL, &*reply.model);
    let finish = vec![messages::finish(reply.finish).to_owned()];
    attributes.put(name::FINISH_REASONS, crate::span::Value::Texts(finish));
    attributes.put(name::INPUT_TOKENS, usage.input_tokens);
    attributes.put(name::OUTPUT_TOKENS, usage.output_tokens);
    if usage.cached_tokens > 0 {
        attributes.put(name::CACHED_TOKENS, usage.cached_tokens);
    }
    if usage.is_estimated {
        attributes.put(name::ESTIMATED, true);
    }
    attributes.put_some(name::COST, reply.cost_usd);
    attributes.put_some(
        name::OUTPUT_MESSAGES,
        messages::conventional_outputs(shown, node, reply),
    );
    attributes.mlflow(name::MLFLOW_MODEL, &*reply.model);
    let mut tokens = json!({
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    });
    if usage.cached_tokens > 0 {
        tokens["cache_read_input_tokens"] = json!(usage.cached_tokens);
    }
    attributes.mlflow(name::MLFLOW_TOKENS, tokens.to_string());
    if let Some(cost) = reply.cost_usd {
        attributes.mlflow(name::MLFLOW_COST, json!({"total_cost": cost}).to_string());
    }
    if let Some(outputs) = messages::mlflow_outputs(shown, node, reply) {
        attributes.mlflow(name::MLFLOW_OUTPUTS, outputs);
    }
}
