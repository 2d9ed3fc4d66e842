//! Servers that refuse how a question is put: what is asked instead, what is learnt of it, and for
//! how long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use llm::chat::{ChatRequest, Content, Delta};
use llm::error::ErrorKind;
use llm::model::{ModelSpec, Models};
use llm::{Clock, Registry, Settings};
use serde_json::{Value, json};
use testing::{FakeModel, Reply, Request};

use crate::ask::{ask, free, registry, shaped};

/// Seconds since the start, as the test says.
#[derive(Debug, Default)]
struct Seconds(AtomicU64);

impl Clock for Seconds {
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

fn timed(server: &FakeModel) -> (Registry, Arc<Seconds>) {
    let clock = Arc::new(Seconds::default());
    let base = server.base_url();
    let settings = Settings {
        environment: [("OPENAI_BASE_URL", base.as_str())].into_iter().collect(),
        clock: clock.clone(),
        ..Settings::default()
    };
    (Registry::new(settings).unwrap(), clock)
}

fn refusal(status: u16, message: &str) -> Reply {
    Reply::status(status).error_body(json!({"error": {"message": message}}))
}

/// How each request asked for structure.
fn ways(server: &FakeModel) -> Vec<String> {
    server.requests().iter().map(way).collect()
}

fn way(request: &Request) -> String {
    let format = request.body.pointer("/response_format/type");
    match format.and_then(Value::as_str) {
        Some(format) => format.to_owned(),
        None if request.body.get("tools").is_some() => "tool".to_owned(),
        None => "message".to_owned(),
    }
}

fn word(pattern: Option<&str>) -> Value {
    let mut word = json!({"type": "string"});
    if let Some(pattern) = pattern {
        word["pattern"] = json!(pattern);
    }
    json!({"type": "object", "properties": {"word": word}, "required": ["word"], "additionalProperties": false})
}

/// As LM Studio and llama.cpp: one schema is too hard, and only schemas are known.
fn too_hard() -> FakeModel {
    FakeModel::answering(|request| match way(request).as_str() {
        "json_schema" if request.body.to_string().contains("[A-Z]") => refusal(
            400,
            "Failed to initialize samplers: failed to parse grammar",
        ),
        "tool" => refusal(400, "Invalid tool_choice type: 'object'"),
        "json_object" => refusal(
            400,
            "'response_format.type' must be 'json_schema' or 'text'",
        ),
        _ => Reply::json(json!({"word": "ABC"})),
    })
}

#[tokio::test]
async fn one_schema_that_is_refused_does_not_spoil_a_server_for_others() {
    let server = too_hard();
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let hard = shaped("code", word(Some("^[A-Z]{3}$")));
    let easy = shaped("word", word(None));
    for request in [&hard, &easy, &hard, &easy] {
        let reply = ask(&models, "openai/m", request).await.0.unwrap();
        assert_eq!(reply.content, Content::Json(json!({"word": "ABC"})));
    }
    assert_eq!(
        ways(&server),
        [
            "json_schema",
            "tool",
            "json_object",
            "message", // the hard one, until it is answered
            "json_schema",
            "message",
            "json_schema",
        ]
    );
}

#[tokio::test]
async fn where_every_way_is_refused_the_first_sentence_is_told() {
    let server = FakeModel::answering(|request| match way(request).as_str() {
        "json_schema" => refusal(400, "failed to parse grammar"),
        way => refusal(400, &format!("no response_format, no tools, no {way}")),
    });
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let request = shaped("word", word(None));
    for _ in 0..2 {
        let error = ask(&models, "openai/m", &request).await.0.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest);
        assert!(error.message.contains("failed to parse grammar"), "{error}");
        assert!(error.message.contains("other ways"), "{error}");
    }
    let once = ["json_schema", "tool", "json_object", "message"];
    assert_eq!(
        ways(&server),
        [once, once].concat(),
        "nothing worked, so nothing is learnt"
    );
}

#[tokio::test]
async fn nothing_is_learnt_from_a_server_that_fails() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = fails.clone();
    let server = FakeModel::answering(move |request| {
        if way(request) == "json_schema" && failing.load(Ordering::Relaxed) {
            return refusal(500, "the grammar cache is being rebuilt");
        }
        Reply::json(json!({"word": "ABC"}))
    });
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let request = shaped("word", word(None));
    ask(&models, "openai/m", &request).await.0.unwrap();
    fails.store(false, Ordering::Relaxed);
    ask(&models, "openai/m", &request).await.0.unwrap();
    assert_eq!(ways(&server), ["json_schema", "tool", "json_schema"]);
}

#[tokio::test]
async fn what_was_learnt_ends_after_an_hour() {
    let server = FakeModel::answering(|request| {
        if way(request) == "json_schema" {
            return refusal(400, "unknown field response_format");
        }
        Reply::json(json!({"word": "ABC"}))
    });
    let (models, clock) = timed(&server);
    let request = shaped("word", word(None));
    for seconds in [0, 3_599, 3_600] {
        clock.0.store(seconds, Ordering::Relaxed);
        ask(&models, "openai/m", &request).await.0.unwrap();
    }
    assert_eq!(
        ways(&server),
        ["json_schema", "tool", "tool", "json_schema", "tool"]
    );
}

#[tokio::test]
async fn what_has_worked_is_not_given_up_for_one_refusal() {
    let server = FakeModel::start();
    let (models, clock) = timed(&server);
    let request = shaped("word", word(None));
    ask(&models, "openai/m", &request).await.0.unwrap();
    server.script([refusal(400, "grammar"), Reply::json(json!({"word": "ABC"}))]);
    for seconds in [1, 2] {
        clock.0.store(seconds, Ordering::Relaxed);
        ask(&models, "openai/m", &request).await.0.unwrap();
    }
    assert_eq!(
        ways(&server),
        ["json_schema", "json_schema", "tool", "json_schema"]
    );
}

#[tokio::test]
async fn a_lesson_that_no_longer_holds_is_dropped() {
    let knows_schemas = Arc::new(AtomicBool::new(false));
    let knows = knows_schemas.clone();
    let server = FakeModel::answering(move |request| {
        match (way(request).as_str(), knows.load(Ordering::Relaxed)) {
            ("json_schema", false) => refusal(400, "unknown field response_format"),
            ("json_schema", true) | ("tool", false) => Reply::json(json!({"word": "ABC"})),
            _ => refusal(400, "tools are not supported"),
        }
    });
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let request = shaped("word", word(None));
    ask(&models, "openai/m", &request).await.0.unwrap();
    knows_schemas.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        ask(&models, "openai/m", &request).await.0.unwrap();
    }
    assert_eq!(
        ways(&server),
        ["json_schema", "tool", "tool", "json_schema", "json_schema"]
    );
}

/// Asks, and gives the warnings.
async fn warnings(models: &Registry, request: &ChatRequest) -> Vec<String> {
    let model = models.find(&ModelSpec::parse("openai/m").unwrap()).unwrap();
    let warnings = Mutex::new(Vec::new());
    let keep = |delta| {
        if let Delta::Warning(warning) = delta {
            warnings.lock().unwrap().push(warning);
        }
    };
    model.chat(request, &keep).await.unwrap();
    warnings.into_inner().unwrap()
}

fn temperatures(server: &FakeModel) -> Vec<Value> {
    let requests = server.requests();
    let sent = requests
        .iter()
        .map(|request| request.body["temperature"].clone());
    sent.collect()
}

#[tokio::test]
async fn temperature_zero_is_not_dropped_where_only_zero_is_refused() {
    let server = FakeModel::answering(|request| {
        if request.body["temperature"] == json!(0.0) {
            return refusal(
                422,
                "Invalid params: temperature must be in range (0, +inf)",
            );
        }
        Reply::text("ok")
    });
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let at = |temperature| ChatRequest {
        temperature: Some(temperature),
        ..free("otters")
    };
    let expected = "openai/m refuses `temperature: 0`; it was asked with 0.01 instead";
    for _ in 0..2 {
        assert_eq!(warnings(&models, &at(0.0)).await, [expected]);
    }
    assert!(warnings(&models, &at(0.7)).await.is_empty());
    assert_eq!(
        temperatures(&server),
        [json!(0.0), json!(0.01), json!(0.01), json!(0.7)]
    );
}

#[tokio::test]
async fn of_two_ways_around_a_temperature_the_one_that_was_taken_last_is_told() {
    let server = FakeModel::answering(|request| match request.body["temperature"].as_f64() {
        None => Reply::text("ok"),
        Some(0.0) => refusal(400, "temperature must be greater than 0"),
        Some(_) => refusal(400, "temperature is not supported"),
    });
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let request = ChatRequest {
        temperature: Some(0.0),
        ..free("otters")
    };
    for _ in 0..2 {
        let warnings = warnings(&models, &request).await;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("it was asked without"), "{warnings:?}");
    }
    assert_eq!(
        temperatures(&server),
        [json!(0.0), json!(0.01), Value::Null, Value::Null]
    );
}

#[tokio::test]
async fn a_temperature_that_is_left_out_is_told_every_time() {
    let server = FakeModel::answering(|request| {
        if request.body["temperature"].is_null() {
            return Reply::text("ok");
        }
        refusal(
            400,
            "Unsupported value: 'temperature' does not support 0.5 with this model",
        )
    });
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let request = ChatRequest {
        temperature: Some(0.5),
        ..free("otters")
    };
    for _ in 0..2 {
        let warnings = warnings(&models, &request).await;
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].starts_with("openai/m refuses `temperature: 0.5`; it was asked without"),
            "{warnings:?}"
        );
    }
    assert_eq!(
        temperatures(&server),
        [json!(0.5), Value::Null, Value::Null]
    );
}

#[tokio::test]
async fn property_names_that_a_provider_refuses_are_translated_there_and_back() {
    let server = FakeModel::answering(|request| {
        let schema = request.schema().unwrap();
        let names = schema["properties"].as_object().unwrap();
        if names.contains_key("grüße") {
            return refusal(
                400,
                "properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'",
            );
        }
        let answer = names.keys().map(|name| (name.clone(), json!(name)));
        Reply::json(Value::Object(answer.collect()))
    });
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["grüße", "plain"],
        "properties": {"grüße": {"type": "string"}, "plain": {"type": "string"}},
    });
    for request in [shaped("word", schema.clone()), shaped("word", schema)] {
        let reply = ask(&models, "openai/m", &request).await.0.unwrap();
        assert_eq!(
            reply.content,
            Content::Json(json!({"grüße": "gr__e", "plain": "plain"}))
        );
    }
}
