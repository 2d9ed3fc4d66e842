//! Whom a request is for, and from where: `Host`, codings, the path that a proxy takes off.

use serde_json::json;
use server::{AllowedHosts, Settings};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{Answer, Call, Opened};
use crate::models::Part;
use crate::server::{ECHO, Server, echo_named};

async fn raw(server: &Server, request: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    Opened::read(stream, false).await.finish().await
}

fn with(settings: Settings) -> Server {
    Server::with(Part::Echo, &[ECHO], settings, service::Settings::default())
}

/// As a server on loopback without keys is set up.
fn private(named: &[&str]) -> Server {
    with(Settings {
        allowed_hosts: Some(AllowedHosts {
            named: named.iter().map(|name| name.parse().unwrap()).collect(),
            any_address: false,
        }),
        ..Settings::default()
    })
}

#[tokio::test]
async fn a_transfer_encoding_other_than_chunked_is_refused_with_400() {
    let server = Server::start(Part::Echo);
    for codings in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let request = format!(
            "POST /run HTTP/1.1\r\nHost: test\r\n{codings}\r\n11\r\n{{\"message\": \"hi\"}}\r\n0\r\n\r\n"
        );
        assert_eq!(raw(&server, &request).await.status, 400, "{codings}");
    }
    assert_eq!(server.model.calls(), 0);
    for coding in ["chunked", "Chunked", " chunked "] {
        let request = format!(
            "POST /run HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: {coding}\r\n\r\n11\r\n{{\"message\": \"hi\"}}\r\n0\r\n\r\n"
        );
        assert_eq!(raw(&server, &request).await.status, 200, "{coding}");
    }
}

#[tokio::test]
async fn two_hosts_or_none_are_refused_with_400() {
    let server = Server::start(Part::Echo);
    for (version, hosts, status) in [
        ("1.1", "", 400),
        ("1.1", "Host: a\r\nHost: a\r\n", 400),
        ("1.1", "Host: a\r\nHost: b\r\n", 400),
        ("1.0", "Host: a\r\nHost: b\r\n", 400),
        ("1.1", "Host: a\r\n", 200),
        ("1.0", "", 200),
    ] {
        let request = format!("GET /health HTTP/{version}\r\n{hosts}\r\n");
        let answer = raw(&server, &request).await;
        assert_eq!(answer.status, status, "{version} {hosts:?}");
    }
}

#[tokio::test]
async fn a_page_whose_name_was_made_to_lead_here_is_refused() {
    let server = private(&["flowmill.internal"]);
    let ask = async |host: &str, target: &str| {
        let body = r#"{"message": "hi"}"#;
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(&server, &request).await
    };
    for host in [
        "localhost",
        "LOCALHOST:8000",
        "app.localhost",
        "127.0.0.1:1",
        "127.9.9.9",
        "[::1]:8000",
        "flowmill.internal",
        "Flowmill.Internal.:80",
    ] {
        assert_eq!(ask(host, "/run").await.status, 200, "{host}");
    }
    let calls = server.model.calls();
    for host in [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "evil.example@localhost",
        "",
    ] {
        let answer = ask(host, "/run").await;
        assert_eq!(answer.status, 403, "{host}");
        assert_eq!(answer.json()["code"], "foreign_host", "{host}");
    }
    let absolute = ask("localhost", "http://evil.example/run").await;
    assert_eq!(absolute.status, 403);
    assert_eq!(server.model.calls(), calls);
    for path in ["/jobs", "/", "/openapi.json", "/nothing"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(raw(&server, &request).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn probes_that_ask_by_address_are_answered_where_names_are_listed() {
    let server = with(Settings {
        allowed_hosts: Some(AllowedHosts {
            named: vec!["flowmill.internal".parse().unwrap()],
            any_address: true,
        }),
        ..Settings::default()
    });
    for (host, status) in [
        ("10.1.2.3:8000", 200),
        ("[fd00::1]:8000", 200),
        ("other", 403),
    ] {
        let request = format!("GET /health/ready HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(raw(&server, &request).await.status, status, "{host}");
    }
}

const RUN: &str = r#"{"message": "hi"}"#;

#[tokio::test]
async fn behind_a_path_prefix_every_link_stays_inside_it() {
    let configured = Settings {
        root_path: "/app1/".parse().unwrap(),
        ..Settings::default()
    };
    for (settings, sent, prefix) in [
        (configured.clone(), None, "/app1"),
        (configured, Some("/other"), "/app1"),
        (Settings::default(), Some("/app1/"), "/app1"),
        (Settings::default(), Some("/outer, /inner"), "/outer/inner"),
        (Settings::default(), Some("//evil.example"), ""),
        (Settings::default(), Some("https://evil.example"), ""),
        (Settings::default(), None, ""),
    ] {
        let server = with(settings);
        let ask = async |call: Call| {
            let call = match sent {
                Some(sent) => call.header("X-Forwarded-Prefix", sent),
                None => call,
            };
            server.send(call).await
        };
        let shown = format!("{sent:?} {prefix}");
        let accepted = ask(Call::post("/run", RUN).header("Prefer", "respond-async")).await;
        let place = format!("{prefix}/status/{}", accepted.job_id());
        assert_eq!(accepted.header("location"), Some(&*place), "{shown}");
        let message = accepted.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&place), "{shown}: {message}");
        let slash = ask(Call::get("/health/")).await;
        let health = format!("{prefix}/health");
        assert_eq!(slash.header("location"), Some(&*health), "{shown}");
        let document = ask(Call::get("/openapi.json")).await.json();
        let servers = if prefix.is_empty() {
            json!(null)
        } else {
            json!([{ "url": prefix }])
        };
        assert_eq!(document["servers"], servers, "{shown}");
        let root = ask(Call::get("/")).await.json();
        for (_, endpoint) in root["endpoints"].as_object().unwrap() {
            let endpoint = endpoint.as_str().unwrap();
            assert!(endpoint.starts_with(&format!("{prefix}/")), "{endpoint}");
            assert!(!endpoint.starts_with("//"), "{endpoint}");
        }
        let workflows = ask(Call::get("/workflows")).await.json();
        let run = format!("{prefix}/workflows/echo/run");
        assert_eq!(workflows["workflows"][0]["endpoints"]["run"], json!(run));
        let problem = ask(Call::get("/nothing").header("Accept", "application/problem+json"));
        let instance = problem.await.json()["instance"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            instance.starts_with(&format!("{prefix}/nothing#")),
            "{instance}"
        );
    }
}

#[tokio::test]
async fn a_proxy_that_leaves_the_prefix_in_the_path_is_understood() {
    let server = Server::with(
        Part::Echo,
        &[ECHO, &echo_named("other")],
        Settings {
            root_path: "/app1".parse().unwrap(),
            ..Settings::default()
        },
        service::Settings::default(),
    );
    for path in ["/app1/workflows/other/run", "/workflows/other/run"] {
        assert_eq!(server.post(path, RUN).await.status, 200, "{path}");
    }
    assert_eq!(server.get("/app12/health").await.status, 404);
}

#[tokio::test]
async fn a_client_that_asks_for_a_handle_always_gets_one() {
    let server = Server::start(Part::Echo);
    for _ in 0..20 {
        let call = Call::post("/run", RUN).header("Prefer", "respond-async");
        let answer = server.send(call).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let place = answer.header("location").expect("it has one").to_owned();
        assert_eq!(answer.header("preference-applied"), Some("respond-async"));
        let status = Call::get(&place).header("Prefer", "wait=10");
        assert_eq!(server.send(status).await.json()["status"], "completed");
    }
    // Also of a run that has ended long since.
    let keyed = || {
        Call::post("/run", RUN)
            .header("Idempotency-Key", "k")
            .header("Prefer", "respond-async")
    };
    let first = server.send(keyed()).await;
    let place = first.header("location").unwrap().to_owned();
    server
        .send(Call::get(&place).header("Prefer", "wait=10"))
        .await;
    let again = server.send(keyed()).await;
    assert_eq!(
        (again.status, again.header("location")),
        (202, Some(&*place))
    );
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_415() {
    let server = Server::start(Part::Echo);
    for path in ["/run", "/jobs"] {
        for coding in ["gzip", "GZIP", "br", "identity, gzip"] {
            let call =
                Call::post(path, &b"\x1f\x8b\x08\x00"[..]).header("Content-Encoding", coding);
            let answer = server.send(call).await;
            assert_eq!(answer.status, 415, "{path} {coding}: {}", answer.body);
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(
                detail.contains(coding) && detail.contains("as it is"),
                "{detail}"
            );
        }
    }
    let call = Call::post("/run", RUN).header("Content-Encoding", "identity");
    assert_eq!(server.send(call).await.status, 200);
}

#[tokio::test]
async fn json_that_is_sent_as_text_is_told_so() {
    let server = Server::start(Part::Echo);
    let send = async |content_type: &str, body: &str| {
        let call = Call::with_body("POST", "/run", body).header("Content-Type", content_type);
        let answer = server.send(call).await;
        assert_eq!(answer.status, 422);
        answer.json()["detail"][0]["msg"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let told = send("text/plain;charset=UTF-8", RUN).await;
    assert!(told.contains("text/plain"), "{told}");
    assert!(told.contains("`Content-Type: application/json`"), "{told}");
    let text = send("text/plain", "hi").await;
    assert!(!text.contains("Content-Type"), "{text}");
}

#[tokio::test]
async fn a_number_that_json_does_not_have_is_told_so() {
    let server = Server::start(Part::Echo);
    for number in ["NaN", "Infinity", "-Infinity"] {
        let answer = server
            .post("/run", &format!(r#"{{"message": {number}}}"#))
            .await;
        assert_eq!(answer.status, 422);
        let fault = &answer.json()["detail"][0];
        assert_eq!(fault["type"], "json_invalid");
        let reason = fault["ctx"]["error"].as_str().unwrap();
        assert!(reason.contains("is not JSON; write null"), "{reason}");
    }
}
