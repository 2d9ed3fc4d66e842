//! Bodies that are small and mean something large.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Call;
use crate::models::Part;
use crate::server::{ECHO, Server};

const LISTS: &str = r#"
schema_version: "1.0"
flow: {name: lists}
state:
  fields:
    numbers: {type: "list[int]", required: true}
    first: {type: str, required: true}
    second: {type: str, required: true}
    result: {type: str, default: ""}
nodes:
  - id: say
    prompt: "Say {state.first}"
    outputs: [result]
    output_schema: {type: str}
edges:
  - {from: START, to: say}
  - {from: say, to: END}
"#;

fn with(workflow: &str, settings: server::Settings) -> Server {
    Server::with(
        Part::Echo,
        &[workflow],
        settings,
        service::Settings::default(),
    )
}

#[tokio::test]
async fn a_body_of_too_many_values_or_too_long_a_text_is_refused_before_it_is_built() {
    let server = with(
        ECHO,
        server::Settings {
            max_body_values: 100,
            max_text_bytes: 50,
            ..server::Settings::default()
        },
    );
    let refused = async |body: &str| {
        let answer = server.post("/run", body).await;
        assert_eq!(answer.status, 422, "{}", answer.body);
        let fault = answer.json()["detail"][0].clone();
        assert_eq!(fault["type"], "json_invalid");
        fault["ctx"]["error"].as_str().unwrap().to_owned()
    };
    let list = format!(r#"{{"message": "hi", "x": [{}0]}}"#, "0,".repeat(200));
    assert_eq!(refused(&list).await, "more than 100 values");
    let text = format!(r#"{{"message": "{}"}}"#, "x".repeat(51));
    assert_eq!(refused(&text).await, "a text of more than 50 bytes");
    assert_eq!(
        server.post("/run", r#"{"message": "hi"}"#).await.status,
        200
    );
}

#[tokio::test]
async fn by_default_half_a_million_values_are_the_most() {
    let server = Server::start(Part::Echo);
    let body = |values: usize| format!(r#"{{"message": "hi", "x": [{}0]}}"#, "0,".repeat(values));
    assert_eq!(server.post("/run", &body(400_000)).await.status, 200);
    assert_eq!(server.post("/run", &body(500_000)).await.status, 422);
}

#[tokio::test]
async fn a_hundred_thousand_levels_are_refused() {
    let server = Server::start(Part::Echo);
    for open in ["[", r#"{"a":"#] {
        let body = format!(r#"{{"message": {}"#, open.repeat(100_000));
        let answer = server.post("/run", &body).await;
        assert_eq!(
            (answer.status, &answer.json()["detail"][0]["type"]),
            (422, &json!("json_invalid"))
        );
    }
}

/// A value that is at fault many times over would otherwise come back as many times.
#[tokio::test]
async fn a_refusal_is_not_much_larger_than_what_it_refuses() {
    let server = with(LISTS, server::Settings::default());
    let many = format!(r#"{{"numbers": [{}"x"]}}"#, r#""x","#.repeat(200_000));
    let answer = server.post("/run", &many).await;
    let faults: Value = answer.json();
    // A thousand items, and the two fields that are missing.
    assert_eq!(
        (answer.status, faults["detail"].as_array().unwrap().len()),
        (422, 1_002)
    );
    assert!(answer.body.len() < 500_000, "{}", answer.body.len());

    let large = format!(r#"{{"numbers": [], "other": "{}"}}"#, "x".repeat(1 << 20));
    let answer = server.post("/run", &large).await;
    assert_eq!(answer.json()["detail"][1]["input"], "[too large to repeat]");
    assert!(answer.body.len() < 1_000, "{}", answer.body);

    let text = server
        .send(Call::post("/run", format!(r#""{}""#, "x".repeat(1 << 20))))
        .await;
    assert_eq!((text.status, text.body.len() < 1_000), (422, true));
}

/// Each is within the limit, and none is ever complete.
#[tokio::test]
async fn many_large_bodies_that_never_end_do_not_add_up() {
    let limit = 1 << 20;
    let server = with(
        ECHO,
        server::Settings {
            max_body_bytes: limit,
            ..server::Settings::default()
        },
    );
    let head = format!("POST /run HTTP/1.1\r\nHost: test\r\nContent-Length: {limit}\r\n\r\n");
    let most = vec![b' '; limit - 1];
    let mut sending = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&most).await.unwrap();
        sending.push(stream);
    }
    // Some were told before they came to the end.
    let mut refused = 0;
    for mut stream in sending.drain(..) {
        let mut first = [0; 12];
        // The others are waited for: their last byte completes them.
        stream.write_all(b" ").await.unwrap();
        stream.read_exact(&mut first).await.unwrap();
        match &first {
            b"HTTP/1.1 503" => refused += 1,
            other => assert_eq!(other, b"HTTP/1.1 422", "blanks are no JSON"),
        }
    }
    assert!((10..=20).contains(&refused), "{refused} of 40");
    assert_eq!(
        server.post("/run", r#"{"message": "hi"}"#).await.status,
        200
    );
    let large = format!(r#"{{"message": "{}"}}"#, "x".repeat(limit - 100));
    assert_eq!(server.post("/run", &large).await.status, 200);
}

#[tokio::test]
async fn the_last_of_two_equal_keys_counts() {
    let server = Server::start(Part::Echo);
    let answer = server
        .post("/run", r#"{"message": "a", "message": "b"}"#)
        .await;
    assert_eq!(answer.json()["outputs"]["message"], "b");
}
