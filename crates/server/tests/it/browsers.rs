//! What browsers are told: the headers of every answer, and which pages of other origins may call the API.

use std::sync::Arc;

use jobs::memory::MemoryStore;
use service::access::{Access, KeyIssuer};
use service::limits::{Accounts, Limits};

use crate::access::Counting;
use crate::client::{Answer, Call};
use crate::machine::Machine;
use crate::models::Part;
use crate::server::{ECHO, Server};

const PAGE: &str = "https://app.example";

fn with(origins: &[&str]) -> Server {
    let origins = origins.iter().map(|origin| origin.parse().unwrap());
    let settings = server::Settings {
        origins: origins.collect(),
        ..server::Settings::default()
    };
    Server::with(Part::Echo, &[ECHO], settings, service::Settings::default())
}

fn preflight(origin: &str) -> Call {
    Call::new("OPTIONS", "/run")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization, content-type",
        )
}

fn run(origin: &str) -> Call {
    Call::post("/run", r#"{"message": "hi"}"#).header("Origin", origin)
}

#[track_caller]
fn allows(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let server = Server::start(Part::Echo);
    let html = "text/html";
    for (call, policy, caching) in [
        (
            Call::get("/health"),
            "default-src 'none'; frame-ancestors 'none'",
            "no-store",
        ),
        (
            Call::get("/nothing"),
            "default-src 'none'; frame-ancestors 'none'",
            "no-store",
        ),
        (
            run("http://test"),
            "default-src 'none'; frame-ancestors 'none'",
            "no-store",
        ),
        (
            Call::post("/run", r#"{"message": "hi"}"#).header("Accept", "text/event-stream"),
            "default-src 'none'; frame-ancestors 'none'",
            "no-store",
        ),
        (
            Call::get("/ui/form.js"),
            "default-src 'none'; frame-ancestors 'none'",
            "no-cache",
        ),
        (
            Call::get("/").header("Accept", html),
            "default-src 'none'; script-src 'self'",
            "no-cache",
        ),
        (
            Call::get("/docs").header("Accept", html),
            "default-src 'none'; script-src 'self'",
            "no-cache",
        ),
    ] {
        let answer = server.send(call.clone()).await;
        let header = |name: &str| answer.header(name).unwrap_or_default();
        assert!(
            header("content-security-policy").starts_with(policy),
            "{call:?}: {answer:?}"
        );
        assert_eq!(header("cache-control"), caching, "{call:?}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{call:?}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{call:?}");
        assert_eq!(header("x-frame-options"), "DENY", "{call:?}");
        assert_eq!(
            header("cross-origin-resource-policy"),
            "same-origin",
            "{call:?}"
        );
        assert_eq!(
            answer.header("strict-transport-security"),
            None,
            "no TLS here"
        );
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_told_nothing_by_default() {
    let server = Server::start(Part::Echo);
    let answer = server.send(preflight(PAGE)).await;
    assert_eq!((answer.status, allows(&answer)), (405, None));
    let answer = server
        .send(Call::get("/schema").header("Origin", PAGE))
        .await;
    assert_eq!(
        (answer.status, allows(&answer), answer.header("vary")),
        (200, None, None)
    );
}

#[tokio::test]
async fn a_page_of_a_named_origin_may_call_the_api() {
    let server = with(&[PAGE, "http://localhost:3000"]);
    let asked = server.send(preflight(PAGE)).await;
    assert_eq!((asked.status, allows(&asked)), (204, Some(PAGE)));
    assert!(
        asked
            .header("access-control-allow-methods")
            .unwrap()
            .contains("POST")
    );
    let sent = asked.header("access-control-allow-headers").unwrap();
    for name in [
        "Authorization",
        "X-API-Key",
        "Content-Type",
        "Idempotency-Key",
        "Prefer",
    ] {
        assert!(sent.contains(name), "{name}: {sent}");
    }
    assert_eq!(asked.header("vary"), Some("Origin"));

    let answer = server.send(run(PAGE)).await;
    assert_eq!((answer.status, allows(&answer)), (200, Some(PAGE)));
    let shown = answer.header("access-control-expose-headers").unwrap();
    for name in ["Location", "Retry-After", "RateLimit"] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
    // Refusals can be read as well.
    let refused = server
        .send(Call::post("/run", "{}").header("Origin", PAGE))
        .await;
    assert_eq!((refused.status, allows(&refused)), (422, Some(PAGE)));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn a_browser_asks_without_a_key_and_can_read_that_one_is_missing() {
    let key = format!("fm_ops_{}", "a".repeat(43));
    let (store, host) = (Arc::new(MemoryStore::default()), Arc::new(Machine::new()));
    let accounts = Accounts::open(store.clone(), host.clone(), Limits::default());
    let accounts = Arc::new(accounts.await.unwrap());
    let issuer = KeyIssuer {
        store,
        host,
        secrets: Arc::new(Counting::default()),
    };
    let listed = format!("{key}:admin").parse().unwrap();
    let access = Access::open(issuer, listed, accounts).await.unwrap();
    let settings = server::Settings {
        origins: [PAGE.parse().unwrap()].into_iter().collect(),
        ..server::Settings::default()
    };
    let limits = service::Settings::default();
    let server = Server::guarded(Part::Echo, &[ECHO], settings, limits, access);
    let asked = server.send(preflight(PAGE)).await;
    assert_eq!((asked.status, allows(&asked)), (204, Some(PAGE)));
    let missing = server.send(run(PAGE)).await;
    assert_eq!((missing.status, allows(&missing)), (401, Some(PAGE)));
    let with_key = |origin: &str| run(origin).header("Authorization", &format!("Bearer {key}"));
    assert_eq!(server.send(with_key(PAGE)).await.status, 200);
    // Who has a key is asked for nothing more.
    let elsewhere = server.send(with_key("https://other.example")).await;
    assert_eq!((elsewhere.status, allows(&elsewhere)), (200, None));
}

#[tokio::test]
async fn other_origins_than_those_named_are_told_nothing() {
    let server = with(&[PAGE]);
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.evil.example",
        "http://app.example",
    ] {
        let asked = server.send(preflight(origin)).await;
        assert_eq!((asked.status, allows(&asked)), (405, None), "{origin}");
        assert_eq!(
            asked.header("vary"),
            Some("Origin"),
            "another origin gets another answer"
        );
    }
}

#[tokio::test]
async fn a_star_lets_every_origin_in() {
    let server = with(&["*"]);
    let asked = server.send(preflight("https://any.example")).await;
    assert_eq!(
        (asked.status, allows(&asked), asked.header("vary")),
        (204, Some("*"), None)
    );
    let answer = server.send(run("https://any.example")).await;
    assert_eq!((answer.status, allows(&answer)), (200, Some("*")));
}

/// A form or a script of any page can send these without asking first; only the answer is kept from it.
#[tokio::test]
async fn a_foreign_page_starts_nothing_on_a_server_without_keys() {
    let server = with(&[PAGE]);
    let simple = |origin: &str| {
        Call::with_body("POST", "/run", r#"{"message": "hi"}"#)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", origin)
    };
    for call in [
        simple("https://evil.example"),
        simple("null"),
        simple("http://test").header("Sec-Fetch-Site", "cross-site"),
        simple("http://test").header("Sec-Fetch-Site", "same-site"),
    ] {
        let answer = server.send(call).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (403, Some("foreign_origin"))
        );
    }
    assert_eq!(server.model.calls(), 0);
    for call in [
        simple("http://test"),
        simple("http://other").header("Sec-Fetch-Site", "same-origin"),
        simple(PAGE).header("Sec-Fetch-Site", "cross-site"),
    ] {
        assert_eq!(server.send(call).await.status, 200);
    }
}
