//! Sample inputs of a workflow, for example requests that work as they are.

use std::sync::Arc;
use std::time::Duration;

use llm::chat::{
    AnswerFilter, ChatReply, ChatRequest, Content, ExtraHeaders, Message, OutputFormat, Role,
    Sampling, ToolChoice,
};
use llm::model::{ModelSpec, Models as _};
use llm::offline::Offline;
use serde_json::{Value, json};

/// Inputs made up by the offline model, which can answer any schema: the required ones, or, if none
/// is required, those that no node writes, so that the sample shows which inputs there are.
pub(crate) async fn of(input_schema: &Value) -> Value {
    let mut schema = input_schema.clone();
    let mut required: Vec<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    if required.is_empty() {
        let fields = schema["properties"].as_object().into_iter().flatten();
        required.extend(
            fields
                .filter(|(_, field)| field.get("x-written-by").is_none())
                .map(|(name, _)| name.clone()),
        );
        schema["required"] = json!(required);
    }
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| required.contains(name));
    }
    let request = ChatRequest {
        label: "sample".into(),
        messages: vec![Message::new(Role::User, "sample inputs")],
        output: Some(OutputFormat {
            name: "sample".into(),
            description: None,
            schema: Arc::new(schema),
            filter: AnswerFilter::default(),
        }),
        temperature: None,
        max_tokens: None,
        timeout: Duration::from_secs(1),
        stream: false,
        trace_parent: None,
        tools: Arc::default(),
        tool_choice: ToolChoice::default(),
        sampling: Sampling::default(),
        extra_headers: ExtraHeaders::default(),
    };
    let Ok(model) = Offline.find(&ModelSpec::default()) else {
        return json!({});
    };
    let Ok(ChatReply {
        content: Content::Json(mut inputs),
        ..
    }) = model.chat(&request, &|_| {}).await
    else {
        return json!({});
    };
    for name in required {
        let field = &input_schema["properties"][&name];
        match &field["default"] {
            Value::Null if is_any_text(field) => inputs[name] = json!("example"),
            Value::Null => {}
            default => inputs[name] = default.clone(),
        }
    }
    inputs
}

/// Whether any text is valid: then a plain word reads better than what the offline model makes up.
fn is_any_text(schema: &Value) -> bool {
    let free = ["type", "title", "description", "minLength", "default"];
    let is_text = (schema["type"] == json!("string")
        || schema["type"] == json!(["string", "null"]))
        && schema["minLength"].as_u64().unwrap_or_default() <= 7;
    is_text
        && schema
            .as_object()
            .is_some_and(|keys| keys.keys().all(|key| free.contains(&key.as_str())))
}
