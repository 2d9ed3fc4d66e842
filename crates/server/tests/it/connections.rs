//! Connections that mean no good: too many of them, too slow, too large a head, a body of two lengths.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Call, Opened};
use crate::models::Part;
use crate::server::{ECHO, Server};

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(30);

fn with(settings: server::Settings) -> Server {
    Server::with(Part::Echo, &[ECHO], settings, service::Settings::default())
}

/// All that the server says until it hangs up.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut text))
        .await
        .expect("the server hangs up")
        .unwrap();
    String::from_utf8(text).unwrap()
}

async fn say(server: &Server, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// Whether a newcomer is let in. Who is turned away may find the connection reset, having asked too late.
async fn is_served(server: &Server) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(server.address).await?;
        let request = b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await?;
        Ok::<_, std::io::Error>(said)
    };
    ask.await
        .is_ok_and(|said| said.starts_with("HTTP/1.1 200 "))
}

/// What the metrics say of it.
async fn metric(server: &Server, name: &str) -> String {
    let text = server.get("/metrics").await.body;
    let line = text.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}"))[name.len()..]
        .trim()
        .to_owned()
}

#[tokio::test]
async fn connections_beyond_the_cap_are_told_and_those_within_are_served() {
    let settings = server::Settings {
        max_connections: NonZeroUsize::new(2),
        ..server::Settings::default()
    };
    let server = Server::with(Part::Gated, &[ECHO], settings, service::Settings::default());
    let run = Call::post("/run", r#"{"message": "hi"}"#);
    let held: Vec<_> = (0..2)
        .map(|_| {
            let (run, address) = (run.clone(), server.address);
            tokio::spawn(async move { run.begin(address).await })
        })
        .collect();
    server.until_asked(2).await;
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let said = to_the_end(&mut third).await;
    assert!(
        said.starts_with("HTTP/1.1 503 ") && said.contains("too_many_connections"),
        "{said}"
    );
    server.model.let_go(2);
    let mut held = futures_util::future::join_all(held).await.into_iter();
    assert_eq!(held.next().unwrap().unwrap().status, 200);
    let kept = held.next().unwrap().unwrap();
    // The first one is gone, so there is room again; the server may notice a little later.
    let let_in = async { while !is_served(&server).await {} };
    tokio::time::timeout(LONG, let_in)
        .await
        .expect("a place is given back");
    drop(kept);
    let refused = metric(
        &server,
        r#"flowmill_http_connections_refused_total{reason="total"}"#,
    )
    .await;
    assert!(refused.parse::<u32>().unwrap() >= 1, "{refused}");
}

#[tokio::test]
async fn an_idle_connection_makes_room_and_a_stream_does_not() {
    let server = Server::with(
        Part::Gated,
        &[ECHO],
        server::Settings {
            max_connections: NonZeroUsize::new(2),
            ..server::Settings::default()
        },
        service::Settings::default(),
    );
    let id = server.start_job().await;
    let events = format!("/jobs/{id}/events");
    let mut stream = Call::get(events).begin(server.address).await;
    assert!(stream.chunk().await.is_some());
    // It may be turned away while the server has not noticed yet that the one before has gone.
    let mut idle = loop {
        let mut stream = say(&server, "GET /health HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let mut first = [0; 12];
        if stream.read_exact(&mut first).await.is_ok() && &first == b"HTTP/1.1 200" {
            break stream;
        }
    };
    // Whoever comes now may still be turned away, but no one for long.
    let let_in = async { while !is_served(&server).await {} };
    tokio::time::timeout(LONG, let_in)
        .await
        .expect("there is room");
    assert!(to_the_end(&mut idle).await.contains("healthy"));
    server.model.let_go(1);
    let mut rest = String::new();
    while let Some(chunk) = stream.chunk().await {
        rest += &chunk;
    }
    assert!(rest.contains("run_completed"), "{rest}");
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let server = with(server::Settings {
        max_connections_per_address: NonZeroUsize::new(1),
        ..server::Settings::default()
    });
    let held = Call::get("/health").begin(server.address).await;
    let mut other = TcpStream::connect(server.address).await.unwrap();
    assert!(to_the_end(&mut other).await.starts_with("HTTP/1.1 503 "));
    let metrics = held.again(&Call::get("/metrics")).await.finish().await.body;
    assert!(
        metrics.contains(r#"flowmill_http_connections_refused_total{reason="address"} 1"#),
        "{metrics}"
    );
    assert!(metrics.contains("flowmill_http_connections 1"), "{metrics}");
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_given_up() {
    let server = with(server::Settings {
        head_timeout: SHORT,
        ..server::Settings::default()
    });
    // Waiting between two requests is another matter: this one waits for as long as that one is late.
    let kept = Call::get("/health").begin(server.address).await;
    let mut stream = say(&server, "GET /health HTTP/1.1\r\nHost: te").await;
    assert_eq!(to_the_end(&mut stream).await, "");
    assert_eq!(kept.again(&Call::get("/health")).await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = with(server::Settings {
        idle_timeout: SHORT,
        ..server::Settings::default()
    });
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(to_the_end(&mut silent).await, "");
    let mut used = say(&server, "GET /health HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(to_the_end(&mut used).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let server = with(server::Settings {
        write_timeout: Duration::from_millis(200),
        ..server::Settings::default()
    });
    // Many large answers, none of which is taken.
    let ask = "GET /ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: test\r\n\r\n".repeat(30);
    let mut stream = say(&server, &ask).await;
    nobody_else_is_connected(&server).await;
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken).await;
    let size = server.get("/ui/swagger-ui-bundle.js").await.body.len();
    assert!(taken.len() < 30 * size, "{}", taken.len());
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_is_cut() {
    let server = with(server::Settings {
        write_timeout: Duration::from_millis(200),
        ..server::Settings::default()
    });
    // One event of it is more than what lies between the two ends.
    let body = format!(
        r#"{{"inputs": {{"message": "{}"}}}}"#,
        "x".repeat(9_500_000)
    );
    let id = server.post("/jobs", &body).await.job_id();
    let ask = format!("GET /jobs/{id}/events HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut stream = say(&server, &ask).await;
    nobody_else_is_connected(&server).await;
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken).await;
    let taken = String::from_utf8_lossy(&taken);
    assert!(taken.starts_with("HTTP/1.1 200 "), "{taken:.200}");
    assert!(!taken.contains("event: run_completed"), "it was not cut");
}

/// An answer of 9.5 MB.
async fn large_job(server: &Server) -> String {
    let text = "x".repeat(9_500_000);
    let body = format!(r#"{{"inputs": {{"message": "{text}"}}}}"#);
    let id = server.post("/jobs", &body).await.job_id();
    let get = Call::get(format!("/status/{id}")).header("Prefer", "wait=60");
    assert_eq!(server.send(get).await.json()["status"], "completed");
    format!("/status/{id}")
}

#[tokio::test]
async fn so_little_lies_between_that_a_slow_but_steady_reader_is_told_from_one_that_reads_nothing()
{
    let server = with(server::Settings {
        write_timeout: Duration::from_millis(200),
        ..server::Settings::default()
    });
    let path = large_job(&server).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    nobody_else_is_connected(&server).await;
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken).await;
    assert!(
        taken.len() < 1 << 20,
        "{} bytes were on their way",
        taken.len()
    );
}

#[tokio::test]
async fn large_answers_that_nobody_reads_have_a_bound_together() {
    let server = with(server::Settings {
        max_answer_bytes: 12 << 20,
        ..server::Settings::default()
    });
    let path = large_job(&server).await;
    let unread = Call::get(path.clone()).begin(server.address).await;
    assert_eq!(unread.status, 200);
    let refused = server.get(&path).await;
    assert_eq!(
        (
            refused.status,
            &refused.json()["code"],
            refused.header("retry-after")
        ),
        (503, &json!("answers_busy"), Some("5"))
    );
    assert_eq!(server.get("/health").await.status, 200);
    assert_eq!(server.get("/ui/swagger-ui-bundle.js").await.status, 200);
    // Once it is read there is room again.
    assert!(unread.finish().await.body.len() > 9_500_000);
    assert_eq!(server.get(&path).await.status, 200);
}

#[tokio::test]
async fn connections_asked_to_leave_do_not_outstay_that() {
    let server = with(server::Settings {
        max_connections: NonZeroUsize::new(4),
        head_timeout: Duration::from_secs(600),
        ..server::Settings::default()
    });
    // None of them would ever end by itself.
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(say(&server, "GET /health HTTP/1.1\r\nHost: te").await);
    }
    let let_in = async { while !is_served(&server).await {} };
    tokio::time::timeout(LONG, let_in)
        .await
        .expect("there is room");
}

/// Waits until the server has no connection but the one that asks.
async fn nobody_else_is_connected(server: &Server) {
    let alone = async {
        while metric(server, "flowmill_http_connections ").await != "1" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, alone)
        .await
        .expect("the others are cut");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_with_a_reason() {
    let server = Server::start(Part::Echo);
    let many = |fields: usize| {
        (0..fields).fold(Call::get("/health"), |call, field| {
            call.header(&format!("X-Field-{field}"), "x")
        })
    };
    assert_eq!(server.send(many(70)).await.status, 200);
    for call in [
        many(90),
        Call::get("/health").header("X-Long", &"x".repeat(40_000)),
    ] {
        let answer = server.send(call).await;
        assert_eq!(
            (
                answer.status,
                &answer.json()["code"],
                answer.header("connection")
            ),
            (431, &json!("headers_too_large"), Some("close"))
        );
    }
    let answer = server
        .get(&format!("/jobs?cursor={}", "x".repeat(9_000)))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (414, &json!("uri_too_long"))
    );
    let query = format!("/health?x={}", "x".repeat(8_000));
    assert_eq!(server.get(&query).await.status, 200);
}

/// More than the server keeps: it answers without having read all, and the client, which is still sending, can
/// read that.
#[tokio::test]
async fn a_flood_of_headers_can_read_its_refusal() {
    let server = Server::start(Part::Echo);
    for line in [
        "X-Flood: x\r\n".to_owned(),
        format!("X-{}: x\r\n", "y".repeat(900)),
    ] {
        let mut stream = say(&server, "GET /health HTTP/1.1\r\nHost: test\r\n").await;
        let flood = line.repeat(2_000_000 / line.len());
        let _ = stream.write_all(flood.as_bytes()).await;
        let said = to_the_end(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    }
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_request_whose_length_is_in_doubt_smuggles_nothing() {
    let server = Server::start(Part::Echo);
    let run = "POST /run HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n";
    let body = r#"{"message": "hi"}"#;
    for lengths in [
        "Content-Length: 17\r\nContent-Length: 5\r\n",
        "Content-Length: 17, 5\r\n",
        "Content-Length: +17\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x11\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length : 17\r\n",
    ] {
        let said = to_the_end(&mut say(&server, &format!("{run}{lengths}\r\n{body}")).await).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{lengths}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{lengths}: {said}");
    }
    // Chunks count, and what comes after the request is not read as another one.
    let smuggled = "GET /schema HTTP/1.1\r\nHost: test\r\n\r\n";
    let both = format!(
        "{run}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{body}\r\n0\r\n\r\n{smuggled}",
        body.len() + 40
    );
    let said = to_the_end(&mut say(&server, &both).await).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert_eq!(said.matches("HTTP/1.1").count(), 1, "{said}");
    assert_eq!(server.model.calls(), 1);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let server = Server::start(Part::Echo);
    let body = r#"{"message": "hi"}"#;
    let head = format!(
        "POST /run HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = say(&server, &head).await;
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(Opened::read(stream, false).await.finish().await.status, 200);
}

#[tokio::test]
async fn a_host_header_changes_nothing() {
    let server = Server::start(Part::Echo);
    let mut answers = Vec::new();
    for host in ["test", "evil.example", "evil.example:99, x"] {
        let head =
            format!("GET /openapi.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let said = to_the_end(&mut say(&server, &head).await).await;
        assert!(!said.contains("evil.example"), "{said}");
        answers.push(said.split_once("\r\n\r\n").unwrap().1.to_owned());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}
