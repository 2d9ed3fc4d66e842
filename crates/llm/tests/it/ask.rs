//! Requests, and asking with the answer's pieces kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use llm::chat::{
    AnswerFilter, ChatReply, ChatRequest, Content, Delta, ExtraHeaders, Message, OutputFormat,
    Role, Sampling, ToolChoice,
};
use llm::model::{ModelSpec, Models};
use llm::{Error, Registry, Settings};
use serde_json::{Value, json};

/// A question in free text.
pub(crate) fn free(prompt: &str) -> ChatRequest {
    ChatRequest {
        label: "ask".into(),
        messages: vec![Message::new(Role::User, prompt)],
        output: None,
        temperature: None,
        max_tokens: None,
        timeout: Duration::from_secs(30),
        stream: false,
        trace_parent: None,
        tools: Arc::default(),
        tool_choice: ToolChoice::default(),
        sampling: Sampling::default(),
        extra_headers: ExtraHeaders::default(),
    }
}

/// A question whose answer has this shape.
pub(crate) fn shaped(prompt: &str, schema: Value) -> ChatRequest {
    let wanted = schema.clone();
    let output = OutputFormat {
        name: "Output_ask".into(),
        description: None,
        schema: Arc::new(schema),
        filter: AnswerFilter::new(move |answer| jsonschema::is_valid(&wanted, answer)),
    };
    ChatRequest {
        output: Some(output),
        ..free(prompt)
    }
}

/// `{"title": text, "score": 1 to 5}`
pub(crate) fn review() -> Value {
    json!({
        "type": "object",
        "properties": {"title": {"type": "string"}, "score": {"type": "integer", "minimum": 1, "maximum": 5}},
        "required": ["title", "score"],
        "additionalProperties": false,
    })
}

/// The same question, its answer streamed.
pub(crate) fn streamed(request: ChatRequest) -> ChatRequest {
    ChatRequest {
        stream: true,
        ..request
    }
}

/// A registry of these variables, impatient enough for tests.
pub(crate) fn registry(variables: &[(&str, &str)]) -> Registry {
    let settings = Settings {
        environment: variables.iter().copied().collect(),
        silence_timeout: Duration::from_secs(1),
        max_body_bytes: 200_000,
        ..Settings::default()
    };
    Registry::new(settings).unwrap()
}

/// Asks once; also gives the text that arrived in pieces.
pub(crate) async fn ask(
    models: &dyn Models,
    model: &str,
    request: &ChatRequest,
) -> (Result<ChatReply, Error>, String) {
    let model = models.find(&ModelSpec::parse(model).unwrap()).unwrap();
    let pieces = Mutex::new(String::new());
    let reply = model
        .chat(request, &|delta| {
            if let Delta::Text(text) = delta {
                pieces.lock().unwrap().push_str(&text);
            }
        })
        .await;
    (reply, pieces.into_inner().unwrap())
}

/// The structured answer; fails the test when there is none that conforms to the request's schema.
#[track_caller]
pub(crate) fn conforming(request: &ChatRequest, reply: Result<ChatReply, Error>) -> Value {
    let reply = reply.unwrap();
    let Content::Json(value) = reply.content else {
        panic!("no structure: {reply:?}");
    };
    let schema = &request.output.as_ref().unwrap().schema;
    assert!(
        jsonschema::is_valid(schema, &value),
        "{value} does not conform to {schema}"
    );
    value
}
