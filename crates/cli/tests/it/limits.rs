//! Limits from the command line: given with a key or to the server, held, and there again after a
//! restart.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};
use tokio::task::JoinSet;

use crate::http::{ask, client, serve};
use crate::support::{Ended, Running, flowmill, greeting, run_in, words};

const STORE: &str = "--store sqlite:flowmill.db";

/// 4,096 tokens of an answer cost a dollar, and a prompt nothing.
const PRICES: &str = "[openai]\ntest = { input = 0, output = 244.140625 }\n";

fn key(project: &TempProject, options: &str) -> String {
    let line = format!("keys create --name a-key {STORE} {options}");
    let ended = run_in(project.root(), words(&line)).exits(0);
    ended.stdout.trim_end().to_owned()
}

async fn run(url: &str, key: &str) -> (u16, HeaderMap, Value) {
    let request = client()
        .post(format!("{url}/run"))
        .bearer_auth(key)
        .json(&json!({"name": "Ada"}));
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.json().await.unwrap_or_default())
}

async fn get(url: &str, path: &str, key: &str) -> String {
    let request = client().get(format!("{url}{path}")).bearer_auth(key);
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.expect("a body")
}

async fn usage(url: &str, key: &str) -> Value {
    let usage: Value = serde_json::from_str(&get(url, "/usage", key).await).expect("JSON");
    usage["keys"][0].clone()
}

#[tokio::test]
async fn what_a_key_has_spent_outlives_its_server() {
    let project = greeting();
    let shop = key(&project, "--tokens-per-day 100000 --max-running 3");
    let listed = run_in(project.root(), words(&format!("keys list {STORE}"))).exits(0);
    assert!(
        listed.stdout.contains("3 running, 100000 tokens/d"),
        "{}",
        listed.stdout
    );

    let mut server = Running::start(&mut serve(&project, "greeting.yaml --offline"));
    let url = server.url();
    assert_eq!(run(&url, &shop).await.0, 200);
    let first = usage(&url, &shop).await;
    let spent = |usage: &Value| usage["today"]["input_tokens"].as_u64().expect("a number");
    assert!(spent(&first) > 0, "{first}");
    assert_eq!(
        (&first["today"]["runs"], &first["limits"]["max_running"]),
        (&json!(1), &json!(3))
    );
    // Whoever asks has it written down first.
    server.signal("KILL");
    server.ended();

    let mut server = Running::start(&mut serve(&project, "greeting.yaml --offline"));
    let url = server.url();
    let found = usage(&url, &shop).await;
    assert_eq!(
        (&found["left"], &found["today"]["runs"]),
        (&first["left"], &json!(1))
    );
    assert_eq!(run(&url, &shop).await.0, 200);
    server.signal("TERM");
    assert_eq!(server.ended().code, Some(0));

    let mut server = Running::start(&mut serve(&project, "greeting.yaml --offline"));
    let found = usage(&server.url(), &shop).await;
    assert_eq!(found["today"]["runs"], 2);
    assert_eq!(spent(&found), 2 * spent(&first));
    server.signal("TERM");
    assert_eq!(server.ended().code, Some(0));
    // The file tells it, too.
    let shown = run_in(project.root(), words(&format!("keys usage {STORE}"))).exits(0);
    let left = found["left"]["tokens"].to_string();
    assert!(shown.stdout.contains(&left), "{left}: {}", shown.stdout);
    run_in(project.root(), words(&format!("keys usage none {STORE}")))
        .exits(1)
        .says(&["no key with that id"]);
}

#[tokio::test]
async fn a_servers_limits_are_those_of_keys_without_their_own() {
    let project = greeting();
    let secret = "c0ffee00".repeat(4);
    let listed = format!("fm_ci_{secret}");
    let (own, admin) = (
        key(&project, "--requests-per-minute 9"),
        key(&project, "--scope admin"),
    );
    let line = "greeting.yaml --offline --key-requests-per-minute 2 --key-tokens-per-day 1000";
    let mut command = serve(&project, line);
    let mut server = Running::start(command.env("FLOWMILL_API_KEYS", &listed));
    let url = server.url();
    for _ in 0..2 {
        // An answer may take 4,096 tokens: the call is never made.
        let (status, headers, problem) = run(&url, &listed).await;
        assert_eq!((status, &problem["code"]), (429, &json!("quota_exhausted")));
        assert_eq!(headers["ratelimit-policy"], "\"default\";q=2;w=60");
        assert!(headers.contains_key("retry-after"));
    }
    let (status, _, problem) = run(&url, &listed).await;
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
    let line = format!("keys usage --format json --server {url}");
    let mut shown = flowmill(project.root(), words(&line));
    let shown = Ended::of(shown.env("FLOWMILL_API_KEY", &admin))
        .exits(0)
        .json();
    assert_eq!(shown["keys"].as_array().map(Vec::len), Some(3));
    let (_, headers, _) = run(&url, &own).await;
    assert_eq!(headers["ratelimit-policy"], "\"default\";q=9;w=60");
    let metrics = get(&url, "/metrics", &admin).await;
    for line in [
        r#"flowmill_limited_total{limit="run"} 3"#,
        r#"flowmill_limited_total{limit="requests"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

/// Each call sets a dollar aside and takes a small part of it: ten dollars a day let all two
/// hundred runs be made, and ten at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_are_under_way_than_can_be_paid_for() {
    let project = greeting();
    project.write("prices.toml", PRICES);
    let model = FakeModel::start();
    let shop = key(&project, "--cost-per-day 10");
    let mut command = serve(&project, "greeting.yaml --prices prices.toml");
    let mut server = Running::start(ask("none", &model, &mut command));
    let url = server.url();
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let (url, shop) = (url.clone(), shop.clone());
        asking.spawn(async move { run(&url, &shop).await });
    }
    let mut cost = 0.0;
    for (status, _, answer) in asking.join_all().await {
        assert_eq!(status, 200, "{answer}");
        cost += answer["usage"]["cost_usd"].as_f64().expect("a price");
    }
    assert!(
        (1..=10).contains(&model.most_in_flight()),
        "{}",
        model.most_in_flight()
    );
    assert!(cost > 0.0 && cost <= 10.0, "{cost}");
    let usage = usage(&url, &shop).await;
    let counted = usage["today"]["cost_usd"].as_f64().expect("a number");
    assert!((counted - cost).abs() < 1e-6, "{counted} for {cost}");
}

#[tokio::test]
async fn a_dollar_limit_wants_prices() {
    let project = greeting();
    let model = FakeModel::start();
    let shop = key(&project, "--cost-per-day 10");
    let mut command = serve(&project, "greeting.yaml");
    let mut server = Running::start(ask("none", &model, &mut command));
    let (status, headers, problem) = run(&server.url(), &shop).await;
    assert_eq!((status, &problem["retryable"]), (429, &json!(false)));
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(
        detail.contains("openai/test") && detail.contains("--prices"),
        "{detail}"
    );
    assert!(!headers.contains_key("retry-after"));
    assert_eq!(model.requests().len(), 0);
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart() {
    let project = greeting();
    let line = "greeting.yaml --offline --store memory --address-requests-per-minute 1 --trusted-proxy 127.0.0.0/8";
    let mut server = Running::start(&mut serve(&project, line));
    let url = format!("{}/schema", server.url());
    let from = async |client_address: &str| {
        let request = client().get(&url).header("x-forwarded-for", client_address);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(from("192.0.2.1").await, 200);
    assert_eq!(from("192.0.2.1").await, 429);
    assert_eq!(from("192.0.2.2").await, 200);
}

#[test]
fn mistakes_name_the_way_out() {
    let project = greeting();
    let check = |line: &str, says: &[&str]| {
        run_in(project.root(), words(line)).exits(2).says(says);
    };
    check(
        "serve greeting.yaml --offline --trusted-proxy proxy",
        &["`proxy` is not a network", "10.0.0.0/8"],
    );
    check(
        "serve greeting.yaml --offline --key-cost-per-day free",
        &["`free` is not an amount", "2.50"],
    );
    check(
        &format!("keys create --name x --cost-per-day 0 {STORE}"),
        &["greater than 0"],
    );
    check(
        &format!("keys create --name x --requests-per-minute 0 {STORE}"),
        &["requests-per-minute"],
    );
    check(
        &format!("keys create --name x --tokens-per-day 9999999999999999 {STORE}"),
        &["999999999999999"],
    );
}

/// A server of one key with so many tokens a day, asking `model`.
fn limited(project: &TempProject, model: &FakeModel, tokens: u32) -> (Running, String) {
    let shop = key(project, &format!("--tokens-per-day {tokens}"));
    let mut command = serve(project, "greeting.yaml");
    let server = Running::start(ask("none", model, &mut command));
    (server, shop)
}

/// 16,000 characters in words.
fn long_greeting() -> Value {
    json!({"result": "otters! ".repeat(2_000)})
}

#[tokio::test]
async fn a_quota_binds_though_a_provider_reports_no_usage() {
    let project = greeting();
    let model = FakeModel::answering(|_| Reply::json(long_greeting()).usage(0, 0));
    let (mut server, shop) = limited(&project, &model, 20_000);
    let url = server.url();
    let mut runs = 0;
    let refused = loop {
        let (status, _, answer) = run(&url, &shop).await;
        if status != 200 {
            break answer;
        }
        runs += 1;
        let usage = &answer["usage"];
        assert_eq!(usage["estimated"], true, "{usage}");
        assert!(usage["output_tokens"].as_u64() > Some(3_900), "{usage}");
        assert!(runs < 10, "nothing binds");
    };
    assert_eq!(refused["code"], "quota_exhausted");
    assert_eq!(runs, 4);
}

#[tokio::test]
async fn an_answer_that_was_read_live_and_cancelled_is_paid() {
    let project = greeting();
    let text = long_greeting().to_string();
    // Half of it arrives.
    let model = FakeModel::answering(move |_| Reply::hang_midway(text.clone()));
    let (mut server, shop) = limited(&project, &model, 20_000);
    let url = server.url();
    let request = client()
        .post(format!("{url}/run"))
        .bearer_auth(&shop)
        .header("accept", "text/event-stream")
        .json(&json!({"name": "Ada"}));
    let mut live = request.send().await.expect("an answer");
    let job = live.headers()["location"].to_str().expect("a path");
    let job = job.rsplit('/').next().expect("an id").to_owned();
    // Of the answer 1,000 pieces of eight characters.
    let (mut pieces, mut rest) = (0, String::new());
    while pieces < 990 {
        let more = live.chunk().await.expect("the stream goes on");
        rest.push_str(&String::from_utf8_lossy(&more.expect("more")));
        let whole = rest.rfind('\n').map_or(0, |end| end + 1);
        let lines: String = rest.drain(..whole).collect();
        pieces += lines.matches("event: llm_delta").count();
    }
    let cancelled = client()
        .post(format!("{url}/jobs/{job}/cancel"))
        .bearer_auth(&shop);
    assert!(
        cancelled
            .send()
            .await
            .expect("an answer")
            .status()
            .is_success()
    );
    while live.chunk().await.is_ok_and(|piece| piece.is_some()) {}
    let status: Value =
        serde_json::from_str(&get(&url, &format!("/status/{job}"), &shop).await).expect("JSON");
    assert_eq!(status["status"], "cancelled");
    let taken = &status["usage"];
    assert_eq!(taken["estimated"], true, "{taken}");
    assert!(taken["output_tokens"].as_u64() > Some(1_700), "{taken}");
    let today = usage(&url, &shop).await["today"].clone();
    assert_eq!(today["output_tokens"], taken["output_tokens"]);
    assert_eq!(today["input_tokens"], taken["input_tokens"]);
}

#[tokio::test]
async fn a_call_in_flight_at_kill_9_is_paid_when_its_run_goes_on() {
    let project = greeting();
    let model = FakeModel::scripted([Reply::hang(), Reply::json(json!({"result": "hi"}))]);
    let (mut server, shop) = limited(&project, &model, 20_000);
    let request = client()
        .post(format!("{}/jobs", server.url()))
        .bearer_auth(&shop)
        .json(&json!({"inputs": {"name": "Ada"}}));
    let accepted: Value = request
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let job = accepted["job_id"].as_str().expect("an id").to_owned();
    while model.calls() == 0 {
        tokio::task::yield_now().await;
    }
    server.signal("KILL");
    server.ended();

    let mut command = serve(&project, "greeting.yaml");
    let mut server = Running::start(ask("none", &model, &mut command));
    let url = server.url();
    let request = client()
        .get(format!("{url}/status/{job}"))
        .bearer_auth(&shop)
        .header("prefer", "wait=60");
    let status: Value = request
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(status["status"], "completed", "{status}");
    let taken = &status["usage"];
    assert_eq!(
        (&taken["llm_calls"], &taken["estimated"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(taken["output_tokens"], 4_096 + 5);
    let today = usage(&url, &shop).await["today"].clone();
    assert_eq!(today["model_calls"], 2);
    assert_eq!(today["output_tokens"], 4_096 + 5);
}
