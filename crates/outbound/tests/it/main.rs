//! The client against a real receiver.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outbound::{Answer, Client, Error, Policy, Post, Request, Url};
use rustls::{ClientConfig, RootCertStore};
use testing::{Act, Receiver};

fn client(rules: &[&str]) -> Client {
    let rules = rules.iter().map(|rule| rule.parse().expect("a rule"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports them")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Client::new(Arc::new(Policy::new(rules)), tls).expect("a client")
}

fn post(client: &Client, url: &str) -> impl Future<Output = Result<Answer, Error>> {
    let request = Request {
        url: Url::parse(url).expect("a URL"),
        headers: vec![("content-type", "application/json".to_owned())],
        body: Bytes::from_static(b"{}"),
    };
    let client = client.clone();
    async move { client.post(request).await }
}

fn status(answer: Result<Answer, Error>) -> u16 {
    answer.expect("an answer").status
}

/// The receiver's address under another name.
fn by(name: &str, receiver: &Receiver) -> String {
    format!("http://{name}:{}/hook", receiver.address().port())
}

#[tokio::test]
async fn what_is_allowed_arrives_as_it_was_sent() {
    let receiver = Receiver::start();
    let client = client(&["127.0.0.1", "::1"]);
    assert_eq!(status(post(&client, &receiver.url()).await), 204);
    let name = by("user:pass@localhost", &receiver) + "?a=b";
    assert_eq!(status(post(&client, &name).await), 204);
    let messages = receiver.received();
    assert_eq!(messages[0].header("content-type"), "application/json");
    assert!(messages[0].header("user-agent").starts_with("flowmill/"));
    assert_eq!(messages[0].body, "{}");
    assert_eq!(messages[1].to, "/hook?a=b");
    assert_eq!(messages[1].header("authorization"), "Basic dXNlcjpwYXNz");
}

#[tokio::test]
async fn neither_an_address_nor_a_name_leads_where_nothing_is_allowed() {
    let receiver = Receiver::start();
    let strict = client(&["10.0.0.0/8"]);
    for name in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let refused = post(&strict, &by(name, &receiver)).await;
        let refused = refused.expect_err("it may not").to_string();
        assert!(refused.contains("does not allow"), "{refused}");
    }
    assert_eq!(receiver.received().len(), 0);
    let by_name = client(&["localhost"]);
    assert_eq!(
        status(post(&by_name, &by("localhost", &receiver)).await),
        204
    );
    assert!(post(&by_name, &receiver.url()).await.is_err());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let other = Receiver::start();
    let to = other.url();
    let receiver = Receiver::acting(move |_, _| Act::Redirect(to.clone()));
    let client = client(&["127.0.0.1"]);
    assert_eq!(status(post(&client, &receiver.url()).await), 302);
    assert_eq!(other.received().len(), 0);
}

#[tokio::test]
async fn a_receiver_may_ask_for_time() {
    let receiver = Receiver::acting(|_, _| Act::Busy(120));
    let answer = post(&client(&["127.0.0.1"]), &receiver.url()).await;
    let expected = Answer {
        status: 503,
        retry_after: Some(Duration::from_secs(120)),
    };
    assert_eq!(answer.expect("an answer"), expected);
}

#[tokio::test]
async fn an_endless_body_ends_with_the_answer() {
    let receiver = Receiver::acting(|_, _| Act::Endless);
    let client = client(&["127.0.0.1"]);
    assert_eq!(status(post(&client, &receiver.url()).await), 200);
}

#[tokio::test]
async fn failures_name_the_place_and_no_more() {
    let receiver = Receiver::start();
    let address = receiver.address();
    drop(receiver);
    let client = client(&["127.0.0.1"]);
    let url = format!("http://user:letmein@{address}/letmein?key=letmein");
    let failed = post(&client, &url).await.expect_err("nobody is there");
    let failed = failed.to_string();
    let expected = format!("no connection to {address}: ");
    assert!(failed.starts_with(&expected), "{failed}");
    assert!(!failed.contains("letmein"), "{failed}");

    let unknown = post(&client, "http://no-such-host.invalid/").await;
    let unknown = unknown.expect_err("nobody has that name").to_string();
    let expected = "no connection to no-such-host.invalid:80: ";
    assert!(unknown.starts_with(expected), "{unknown}");
}
