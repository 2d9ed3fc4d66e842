//! What was recorded is played, and nothing else.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use llm::cassette::{Player, Recorder};
use llm::chat::{Content, Message, Part, Role};
use llm::error::ErrorKind;
use llm::model::Models;
use serde_json::{Value, json};
use testing::{FakeModel, Reply};

use crate::ask::{ask, free, registry, review, shaped, streamed};

/// A file that can be looked into.
#[derive(Debug, Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recorder(server: &FakeModel, tape: &Tape) -> Recorder {
    let models = registry(&[
        ("OPENAI_BASE_URL", &server.base_url()),
        ("OPENAI_API_KEY", "sk-secret"),
    ]);
    Recorder::new(Arc::new(models), Box::new(tape.clone()), || Ok(())).unwrap()
}

#[tokio::test]
async fn a_recording_plays_back_what_happened() {
    let server = FakeModel::scripted([
        Reply::status(429).retry_after(30),
        Reply::json(json!({"title": "one", "score": 1})),
        Reply::json(json!({"title": "two", "score": 2})),
        Reply::text("free"),
    ]);
    let tape = Tape::default();
    let recorder = recorder(&server, &tape);
    let requests = [
        shaped("otters", review()),
        shaped("otters", review()),
        streamed(shaped("otters", review())),
        free("otters!"),
    ];
    let mut outcomes = Vec::new();
    for request in &requests {
        outcomes.push(ask(&recorder, "openai/gpt-4o-mini", request).await);
    }
    assert!(!tape.text().contains("sk-secret"));

    let player = Player::parse(&tape.text()).unwrap();
    for round in 0..2 {
        for (request, (reply, pieces)) in requests.iter().zip(&outcomes) {
            let (again, pieces_again) = ask(&player, "google/any", request).await;
            match (&again, reply) {
                (Ok(again), Ok(reply)) => {
                    assert_eq!(
                        (&again.content, again.usage, again.finish),
                        (&reply.content, reply.usage, reply.finish)
                    );
                    assert_eq!(
                        (&again.model, &again.provider, again.cost_usd),
                        (&reply.model, &reply.provider, reply.cost_usd)
                    );
                }
                (Err(again), Err(error)) => {
                    assert_eq!(
                        (again.kind, &again.message, again.status),
                        (error.kind, &error.message, error.status)
                    );
                    assert_eq!(again.retry_after, None, "a replay need not wait");
                }
                other => panic!("round {round}: {other:?}"),
            }
            assert_eq!(pieces_again, *pieces);
        }
    }
}

#[tokio::test]
async fn the_file_is_lines_of_json_behind_a_header() {
    let server = FakeModel::scripted([Reply::text("free")]);
    let tape = Tape::default();
    ask(&recorder(&server, &tape), "openai/m", &free("otters"))
        .await
        .0
        .unwrap();
    let lines: Vec<Value> = tape
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            json!({"flowmill_cassette": 1}),
            json!({
                "label": "ask", "provider": "openai", "model": "m",
                "request": {"messages": [{"role": "user", "text": "otters"}]},
                "reply": {"text": "free", "finish": "stop", "cost_usd": null,
                          "usage": {"input_tokens": 10, "cached_tokens": 0, "output_tokens": 5}},
            }),
        ]
    );
}

#[tokio::test]
async fn a_turn_of_several_parts_is_recorded_and_found_again() {
    let server = FakeModel::scripted([Reply::text("free")]);
    let tape = Tape::default();
    let texts = ["otters", " and beavers"].map(|text| Part::Text(text.to_owned()));
    let mut request = free("");
    request.messages = vec![Message {
        role: Role::User,
        parts: texts.into_iter().collect(),
    }];
    let recorder = recorder(&server, &tape);
    ask(&recorder, "openai/m", &request).await.0.unwrap();
    let line: Value = serde_json::from_str(tape.text().lines().last().unwrap()).unwrap();
    assert_eq!(
        line["request"]["messages"],
        json!([{"role": "user", "parts": [
            {"type": "text", "text": "otters"}, {"type": "text", "text": " and beavers"},
        ]}])
    );
    let player = Player::parse(&tape.text()).unwrap();
    let reply = ask(&player, "openai/m", &request).await.0.unwrap();
    assert_eq!(reply.content, Content::Text("free".to_owned()));
}

#[tokio::test]
async fn what_was_not_recorded_is_not_made_up() {
    let server = FakeModel::scripted([Reply::text("free")]);
    let tape = Tape::default();
    ask(&recorder(&server, &tape), "openai/m", &free("otters"))
        .await
        .0
        .unwrap();
    let player = Player::parse(&tape.text()).unwrap();
    let mut elsewhere = free("otters");
    elsewhere.label = "other".into();
    for request in [free("beavers"), elsewhere] {
        let error = ask(&player, "openai/m", &request).await.0.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoRecording);
        assert!(error.message.contains("--record"), "{error}");
    }
}

#[tokio::test]
async fn two_recordings_in_one_file_are_one_cassette() {
    let server = FakeModel::start();
    let (first, second) = (Tape::default(), Tape::default());
    ask(&recorder(&server, &first), "openai/m", &free("otters"))
        .await
        .0
        .unwrap();
    ask(&recorder(&server, &second), "openai/m", &free("beavers"))
        .await
        .0
        .unwrap();
    let player = Player::parse(&format!("{}{}", first.text(), second.text())).unwrap();
    let reply = ask(&player, "openai/m", &free("beavers")).await.0.unwrap();
    assert_eq!(reply.content, Content::Text("R:beavers".to_owned()));
}

#[test]
fn a_player_does_not_demand_that_calls_be_sequential() {
    assert!(
        !Player::parse("{\"flowmill_cassette\": 1}\n")
            .unwrap()
            .is_sequential()
    );
}

#[track_caller]
fn check_refused(text: &str, part: &str) {
    let error = Player::parse(text).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains(part), "{error}");
}

#[test]
fn unreadable_cassettes_are_refused() {
    check_refused("", "this file is not a cassette");
    check_refused("{\"replies\": []}", "this file is not a cassette");
    check_refused("{\"flowmill_cassette\": 2}", "the cassette has format 2");
    check_refused(
        "{\"flowmill_cassette\": 1}\n{\"label\": \"a\"}",
        "line 2 of the cassette is not a recorded exchange",
    );
}

#[tokio::test]
async fn a_recording_that_cannot_be_written_fails_the_call() {
    #[derive(Debug)]
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let server = FakeModel::start();
    let models = Arc::new(registry(&[("OPENAI_BASE_URL", &server.base_url())]));
    let recorder = Recorder::new(models, Box::new(Full(1)), || Ok(())).unwrap();
    let error = ask(&recorder, "openai/m", &free("otters"))
        .await
        .0
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(
        error.message.contains("the cassette cannot be written"),
        "{error}"
    );
}
