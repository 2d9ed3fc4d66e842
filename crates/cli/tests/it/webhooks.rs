//! Ends of jobs told to a real receiver, by the real program.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testing::{Act, Received, Receiver, TempProject, rigs};

use crate::http::{get, post, start};
use crate::support::{Ended, PATIENCE, Running, flowmill, greeting, run_in, words};

/// 32 bytes.
const SECRET: &str = "whsec_bGV0bWVpbmxldG1laW5sZXRtZWlubGV0bWVpbjA=";

/// A server whose webhooks may reach this machine by its address.
fn serve(project: &TempProject, options: &str) -> (Running, String) {
    let line = format!("greeting.yaml --offline --webhook-allow 127.0.0.1 {options}");
    let mut server = start(project, &line);
    let url = server.url();
    (server, url)
}

/// Starts a job whose end is told there.
async fn submit(url: &str, webhook: Value) -> String {
    let body = json!({"inputs": {"name": "Ada"}, "webhook": webhook});
    let (status, handle) = post(format!("{url}/jobs"), body).await;
    assert_eq!(status, 202, "{handle}");
    handle["job_id"].as_str().expect("an id").to_owned()
}

fn to(receiver: &Receiver) -> Value {
    json!({"url": receiver.url(), "secret": SECRET})
}

/// Waits until the job's webhook stands so, and returns that.
async fn webhook(url: &str, job: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let (_, document) = get(format!("{url}/jobs/{job}")).await;
            if holds(&document["webhook"]) {
                return document["webhook"].clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it holds in the end")
}

fn has_failed(webhook: &Value) -> bool {
    webhook["last_error"].is_string()
}

fn is_delivered(webhook: &Value) -> bool {
    webhook["state"] == json!("delivered")
}

#[tokio::test]
async fn a_receiver_that_was_down_gets_its_message_later() {
    let receiver = Receiver::start();
    let (address, target) = (receiver.address(), to(&receiver));
    drop(receiver);
    let project = greeting();
    let (_server, url) = serve(&project, "");
    let job = submit(&url, target).await;
    let failed = webhook(&url, &job, has_failed).await;
    assert_eq!(failed["state"], json!("pending"));
    assert!(failed["next_attempt_at"].is_string(), "{failed}");
    let error = failed["last_error"].as_str().expect("a sentence");
    assert!(error.starts_with("no connection to 127.0.0.1:"), "{error}");

    let receiver = Receiver::at(address, |_, _| Act::Answer(200));
    let message = receiver.got(1).await.remove(0);
    assert_eq!(message.header("webhook-id"), format!("msg_{job}"));
    assert_eq!(message.json()["type"], json!("job.completed"));
    let delivered = webhook(&url, &job, is_delivered).await;
    assert_eq!(delivered["last_error"], Value::Null);
    verify(&[message]);
}

#[tokio::test]
async fn a_receiver_that_fails_gets_the_same_message_again() {
    let receiver = Receiver::acting(|number, _| Act::Answer(if number == 1 { 500 } else { 200 }));
    let project = greeting();
    let (_server, url) = serve(&project, "");
    let job = submit(&url, to(&receiver)).await;
    let messages = receiver.got(2).await;
    assert_eq!(messages[0].body, messages[1].body);
    let header = |name| messages.iter().map(move |message| message.header(name));
    assert!(header("webhook-id").all(|id| id == format!("msg_{job}")));
    let times: Vec<&str> = header("webhook-timestamp").collect();
    assert!(times[0] < times[1], "{times:?}");
    let delivered = webhook(&url, &job, is_delivered).await;
    assert_eq!(delivered["attempts"], json!(2));
    verify(&messages);
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn a_server_that_is_killed_tells_it_after_its_restart() {
    let receiver = Receiver::acting(|number, _| match number {
        1 => Act::Hang,
        _ => Act::Answer(200),
    });
    let project = greeting();
    let (server, url) = serve(&project, "");
    let job = submit(&url, to(&receiver)).await;
    receiver.got(1).await;
    drop(server);

    let (_server, url) = serve(&project, "");
    let messages = receiver.got(2).await;
    webhook(&url, &job, is_delivered).await;
    assert_eq!(
        messages[0].header("webhook-id"),
        messages[1].header("webhook-id")
    );
    assert_eq!(messages[0].body, messages[1].body);
    verify(&messages);
}

#[tokio::test]
async fn a_server_that_is_stopped_leaves_it_to_the_next() {
    let receiver = Receiver::acting(|number, _| match number {
        1 => Act::Hang,
        _ => Act::Answer(200),
    });
    let project = greeting();
    let (server, url) = serve(&project, "");
    let job = submit(&url, to(&receiver)).await;
    receiver.got(1).await;
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    let shown = run_in(
        project.root(),
        words(&format!("jobs show {job} --store sqlite:flowmill.db")),
    )
    .exits(0)
    .stdout;
    let line = format!("webhook            pending: {}, next at ", receiver.url());
    assert!(shown.contains(&line), "{shown}");

    let (_server, url) = serve(&project, "");
    let delivered = webhook(&url, &job, is_delivered).await;
    assert_eq!(delivered["attempts"], json!(1), "the first did not count");
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_not_followed() {
    let inner = Receiver::start();
    let to_inner = inner.url();
    let outer = Receiver::acting(move |_, _| Act::Redirect(to_inner.clone()));
    let by_name = format!("http://localhost:{}/", outer.address().port());
    let project = greeting();
    let mut server = start(
        &project,
        "greeting.yaml --offline --webhook-allow localhost",
    );
    let url = server.url();
    let job = submit(&url, json!({"url": by_name})).await;
    let failed = webhook(&url, &job, has_failed).await;
    assert_eq!(
        failed["last_error"],
        json!("the receiver answered 302, and redirects are not followed")
    );
    assert_eq!(outer.received()[0].header("webhook-signature"), "");
    assert!(inner.received().is_empty());
}

#[tokio::test]
async fn private_addresses_are_refused_with_the_request() {
    let project = greeting();
    let mut server = start(&project, "greeting.yaml --offline");
    let url = server.url();
    for target in [
        "http://127.0.0.1:9/",
        "http://localhost:9/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/",
        "http://0x7f.1/",
    ] {
        let body = json!({"inputs": {"name": "Ada"}, "webhook": {"url": target}});
        let (status, refused) = post(format!("{url}/jobs"), body).await;
        assert_eq!(status, 422, "{target}: {refused}");
        let fault = &refused["detail"][0];
        assert_eq!(fault["loc"], json!(["body", "webhook", "url"]), "{target}");
        let message = fault["msg"].as_str().expect("a message");
        assert!(message.contains("private, local or reserved"), "{message}");
    }
    assert_eq!(get(format!("{url}/jobs")).await.1["jobs"], json!([]));
}

#[tokio::test]
async fn every_run_is_told_to_the_servers_webhook_and_then_forgotten() {
    let receiver = Receiver::start();
    let project = greeting();
    let mut command = flowmill(
        project.root(),
        words("serve greeting.yaml --offline --port 0 --webhook-allow 127.0.0.1 --job-retention 0"),
    );
    command
        .env("FLOWMILL_WEBHOOK_URL", receiver.url() + "?key=k")
        .env("FLOWMILL_WEBHOOK_SECRET", SECRET);
    let mut server = Running::start(&mut command);
    let url = server.url();
    let (status, answer) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    assert_eq!(status, 200);
    let messages = receiver.got(1).await;
    assert_eq!(messages[0].to, "/hook?key=k");
    let data = &messages[0].json()["data"];
    assert_eq!(data["job_id"], answer["job_id"]);
    assert_eq!(data["outputs"], answer["outputs"]);
    verify(&messages);
    let job = answer["job_id"].as_str().expect("an id");
    webhook(&url, job, Value::is_null).await;
    assert_eq!(get(format!("{url}/jobs/{job}")).await.0, 404);
}

#[test]
fn a_servers_webhook_that_cannot_be_used_is_said_at_the_start() {
    let project = greeting();
    let check = |url: Option<&str>, secret: Option<&str>, says: &[&str]| {
        let mut command = flowmill(
            project.root(),
            words("serve greeting.yaml --offline --port 0"),
        );
        command.envs(url.map(|url| ("FLOWMILL_WEBHOOK_URL", url)));
        command.envs(secret.map(|secret| ("FLOWMILL_WEBHOOK_SECRET", secret)));
        let ended = Ended::of(&mut command).exits(2).says(says);
        assert!(!ended.stderr.contains("letmein"), "{}", ended.stderr);
    };
    let public = Some("https://letmein@example.com/");
    check(
        Some("http://letmein@10.0.0.1/"),
        None,
        &["--webhook-url", "--webhook-allow"],
    );
    check(Some("letmein"), None, &["--webhook-url", "absolute URL"]);
    check(
        public,
        Some("letmein"),
        &["--webhook-secret", "openssl rand -base64 32"],
    );
    check(
        None,
        Some(SECRET),
        &["--webhook-secret needs --webhook-url"],
    );
    let mut help = flowmill(project.root(), words("serve --help"));
    let help = Ended::of(help.env("FLOWMILL_WEBHOOK_SECRET", SECRET)).exits(0);
    assert!(!help.stdout.contains(SECRET), "{}", help.stdout);
}

#[tokio::test]
async fn a_secret_is_in_nothing_that_is_shown_or_logged() {
    let receiver = Receiver::acting(|number, _| Act::Answer(if number == 1 { 500 } else { 200 }));
    let project = greeting();
    let (server, url) = serve(&project, "--log-level trace");
    let target = format!(
        "http://user:hunter2@{}/hook?key=hunter2",
        receiver.address()
    );
    let job = submit(&url, json!({"url": target, "secret": SECRET})).await;
    webhook(&url, &job, has_failed).await;
    let mut said = Vec::new();
    for line in ["show", "show --format json", "events"] {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let asked = format!("jobs {verb} {job} --server {url} {rest}");
        said.push(run_in(project.root(), words(&asked)).exits(0).stdout);
    }
    let refused = json!({"webhook": {"url": target, "secret": "hunter2"}, "inputs": 1});
    said.push(post(format!("{url}/jobs"), refused).await.1.to_string());
    receiver.got(2).await;
    said.push(server.said());
    let secret = SECRET.trim_start_matches("whsec_");
    for text in said {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains(secret), "{text}");
    }
    let got = &receiver.received()[0];
    assert_eq!(got.to, "/hook?key=hunter2");
    assert!(got.header("authorization").starts_with("Basic "));
}

/// Takes messages from stdin, a line each, and fails on the first that is not good, or that is
/// still good after it was changed.
const VERIFIER: &str = r#"
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
webhook = Webhook(sys.argv[1])
count = 0
for line in sys.stdin:
    message = json.loads(line)
    data = webhook.verify(message["body"], message["headers"])
    assert data["type"].startswith("job."), data
    try:
        webhook.verify(message["body"].replace("Ada", "Eve"), message["headers"])
    except WebhookVerificationError:
        count += 1
print(count)
"#;

/// Lets the Python library of Standard Webhooks verify messages, where it is installed.
#[track_caller]
fn verify(messages: &[Received]) {
    let Some(python) = rigs::program("webhooks", "python") else {
        return;
    };
    let mut verifier = Command::new(python)
        .args(["-c", VERIFIER, SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = verifier.stdin.take().expect("it is piped");
    for message in messages {
        let headers: Value = ["webhook-id", "webhook-timestamp", "webhook-signature"]
            .into_iter()
            .map(|name| (name.to_owned(), json!(message.header(name))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let body = std::str::from_utf8(&message.body).expect("UTF-8");
        let line = json!({"headers": headers, "body": body});
        writeln!(input, "{line}").expect("it reads");
    }
    drop(input);
    let output = verifier.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the library refuses a message");
    let count = String::from_utf8_lossy(&output.stdout);
    assert_eq!(count.trim(), messages.len().to_string());
}
