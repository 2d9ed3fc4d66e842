//! OpenAI's API over HTTP, against the fake server: what is sent, and how refused wordings are got
//! around.

use llm::chat::{Content, FinishReason, Usage};
use llm::model::{ModelSpec, Models, Override};
use serde_json::json;
use std::sync::Arc;
use testing::{FakeModel, Reply};

use crate::ask::{ask, conforming, free, registry, review, shaped, streamed};
use crate::raw::{Raw, answer};

#[tokio::test]
async fn answers_whole_and_streamed_alike() {
    let server = FakeModel::start();
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    for stream in [false, true] {
        let mut request = shaped("otters", review());
        request.stream = stream;
        let (reply, pieces) = ask(&models, "openai/gpt-4o-mini-2024-07-18", &request).await;
        let details = reply.clone().unwrap();
        let value = conforming(&request, reply);
        assert_eq!(value, json!({"title": "R:otters", "score": 1}));
        assert_eq!(
            pieces,
            if stream {
                value.to_string()
            } else {
                String::new()
            }
        );
        assert_eq!(
            details.usage,
            Usage {
                input_tokens: 10,
                cached_tokens: 0,
                output_tokens: 5,
                is_estimated: false,
            }
        );
        assert_eq!(
            (details.finish, details.provider.as_str()),
            (FinishReason::Stop, "openai")
        );
        assert_eq!(details.model, "gpt-4o-mini-2024-07-18");
        assert!((details.cost_usd.unwrap() - (10.0 * 0.15 + 5.0 * 0.6) / 1e6).abs() < 1e-12);
    }
}

#[tokio::test]
async fn free_text_and_the_reason_it_ended() {
    let server = FakeModel::scripted([Reply::text("cut o").finish_reason("length")]);
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let reply = ask(&models, "openai/m", &free("otters")).await.0.unwrap();
    assert_eq!(
        (reply.content, reply.finish, reply.cost_usd),
        (
            Content::Text("cut o".to_owned()),
            FinishReason::Length,
            None
        )
    );
}

#[tokio::test]
async fn a_key_is_sent_only_when_there_is_one() {
    let server = FakeModel::start();
    let base = server.base_url();
    for (variables, expected) in [
        (vec![("OPENAI_BASE_URL", base.as_str())], None),
        (
            vec![("OPENAI_BASE_URL", base.as_str()), ("OPENAI_API_KEY", "k1")],
            Some("Bearer k1"),
        ),
    ] {
        ask(&registry(&variables), "openai/m", &free("x"))
            .await
            .0
            .unwrap();
        assert_eq!(
            server.requests().last().unwrap().header("authorization"),
            expected
        );
    }
    let models = registry(&[("TEAM_KEY", "k2"), ("OPENAI_API_KEY", "k1")]);
    let spec = ModelSpec {
        api_base: Some(base),
        api_key_env: Some("TEAM_KEY".to_owned()),
        ..ModelSpec::parse("openai/m").unwrap()
    };
    models
        .find(&spec)
        .unwrap()
        .chat(&free("x"), &|_| {})
        .await
        .unwrap();
    assert_eq!(
        server.requests().last().unwrap().header("authorization"),
        Some("Bearer k2")
    );
}

/// Refuses schemas as small servers do, then answers in the form it was asked for.
fn without_schemas() -> FakeModel {
    FakeModel::answering(|request| {
        if request.body.pointer("/response_format/type") == Some(&json!("json_schema")) {
            return Reply::status(400)
                .error_body(json!({"error": {"message": "unsupported response_format type"}}));
        }
        Reply::json(json!({"title": "otters", "score": 3}))
    })
}

#[tokio::test]
async fn a_server_that_refuses_schemas_is_asked_with_a_tool_from_then_on() {
    let server = without_schemas();
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let request = shaped("otters", review());
    for model in ["openai/m", "openai/m", "openai/other"] {
        let value = conforming(&request, ask(&models, model, &request).await.0);
        assert_eq!(value, json!({"title": "otters", "score": 3}));
    }
    let forced: Vec<bool> = server
        .requests()
        .iter()
        .map(|request| request.body["tool_choice"].is_object())
        .collect();
    assert_eq!(
        forced,
        [false, true, true, false, true],
        "refused once, then remembered for this model"
    );
}

#[tokio::test]
async fn a_server_that_knows_only_json_mode_is_told_the_schema() {
    let server = FakeModel::answering(|request| {
        if request.body.get("tools").is_some() || request.schema().is_some() {
            return Reply::status(400).error_body(
                json!({"error": {"message": "response_format json_schema and tools are unknown"}}),
            );
        }
        Reply::text("Sure!\n```json\n{\"title\": \"otters\", \"score\": 3}\n```")
    });
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let request = shaped("otters", review());
    conforming(&request, ask(&models, "openai/m", &request).await.0);
    let last = server.requests().pop().unwrap();
    assert_eq!(last.body["response_format"], json!({"type": "json_object"}));
    assert!(last.messages().next().unwrap().1.contains("\"score\""));
}

#[tokio::test]
async fn a_model_that_takes_no_temperature_is_asked_without() {
    let server = FakeModel::answering(|request| {
        if request.body.get("temperature").is_some() {
            let error = json!({"error": {"message": "Unsupported value: 'temperature'", "param": "temperature", "code": "unsupported_value"}});
            return Reply::status(400).error_body(error);
        }
        Reply::text("ok")
    });
    let models = registry(&[("OPENAI_BASE_URL", &server.base_url())]);
    let mut request = free("otters");
    request.temperature = Some(0.5);
    for _ in 0..2 {
        ask(&models, "openai/m", &request).await.0.unwrap();
    }
    assert_eq!(server.calls(), 3);
}

#[tokio::test]
async fn an_answer_in_one_piece_will_do_for_a_stream() {
    let body = r#"{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}"#;
    let server = Raw::serving([answer("200 OK", "content-type: application/json\r\n", body)]).await;
    let models = registry(&[("OPENAI_BASE_URL", &server.base())]);
    let (reply, pieces) = ask(&models, "openai/m", &streamed(free("otters"))).await;
    assert_eq!(
        (reply.unwrap().content, pieces.as_str()),
        (Content::Text("whole".to_owned()), "")
    );
}

#[tokio::test]
async fn a_stream_read_to_its_end_leaves_the_connection_for_the_next_call() {
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let stream = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{events}\r\n0\r\n\r\n",
        events.len()
    );
    let server = Raw::serving([stream.clone(), stream.clone(), stream]).await;
    let models = registry(&[("OPENAI_BASE_URL", &server.base())]);
    for _ in 0..3 {
        let (reply, pieces) = ask(&models, "openai/m", &streamed(free("otters"))).await;
        assert_eq!(
            (reply.unwrap().content, pieces.as_str()),
            (Content::Text("hi".to_owned()), "hi")
        );
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_override_keeps_a_nodes_address_only_for_the_same_provider() {
    let server = FakeModel::start();
    let models: Arc<dyn Models> = Arc::new(registry(&[]));
    let node = ModelSpec {
        api_base: Some(server.base_url()),
        ..ModelSpec::parse("openai/small").unwrap()
    };
    let same = Override::new(
        Arc::clone(&models),
        ModelSpec::parse("openai/large").unwrap(),
    );
    same.find(&node)
        .unwrap()
        .chat(&free("x"), &|_| {})
        .await
        .unwrap();
    assert_eq!(server.requests()[0].model(), "large");
    let other = Override::new(models, ModelSpec::parse("offline").unwrap());
    assert_eq!(other.find(&node).unwrap().name(), "offline/builtin");
}

#[tokio::test]
async fn proxies_come_from_the_injected_environment_and_never_stand_before_loopback() {
    let body = r#"{"choices":[{"message":{"content":"by proxy"},"finish_reason":"stop"}]}"#;
    let proxy = Raw::serving([answer("200 OK", "content-type: application/json\r\n", body)]).await;
    let local = FakeModel::start();
    for (base, expected) in [
        ("http://model.example/v1", "by proxy"),
        (local.base_url().as_str(), "R:otters"),
    ] {
        let models = registry(&[("HTTP_PROXY", &proxy.base()), ("OPENAI_BASE_URL", base)]);
        let reply = ask(&models, "openai/m", &free("otters")).await.0.unwrap();
        assert_eq!(reply.content, Content::Text(expected.to_owned()));
    }
    assert_eq!(proxy.connections(), 1);
}
