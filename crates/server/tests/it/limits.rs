//! Limits over HTTP: what each refuses, how it says so, and what it never refuses.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use jobs::memory::MemoryStore;
use serde_json::{Value, json};
use service::access::{Access, Grants, KeyIssuer, ListedKeys, NewKey, Scope};
use service::limits::{Accounts, Limits};
use tokio::task::JoinSet;

use crate::access::Counting;
use crate::client::{Answer, Call};
use crate::machine::Machine;
use crate::models::Part;
use crate::server::{ECHO, Server};

/// A server and two keys with these limits, and an administrator's without.
struct Limited {
    server: Server,
    key: String,
    other: String,
    admin: String,
}

impl Limited {
    async fn start(part: Part, limits: Limits) -> Self {
        Self::with(
            part,
            limits,
            server::Settings::default(),
            service::Settings::default(),
        )
        .await
    }

    async fn with(
        part: Part,
        limits: Limits,
        settings: server::Settings,
        service: service::Settings,
    ) -> Self {
        let store = Arc::new(MemoryStore::default());
        let issuer = KeyIssuer {
            store: store.clone(),
            host: Arc::new(Machine::new()),
            secrets: Arc::new(Counting::default()),
        };
        let mut keys = Vec::new();
        for (scopes, limits) in [
            (&[Scope::Run, Scope::Read][..], limits),
            (&[Scope::Run, Scope::Read], limits),
            (&[Scope::Admin], Limits::default()),
        ] {
            let grants = Grants {
                scopes: scopes.iter().copied().collect(),
                limits,
                ..Grants::default()
            };
            let new = NewKey {
                name: "a key".to_owned(),
                grants,
                expires_at: None,
            };
            let made = issuer.create(new).await.unwrap();
            keys.push(made.key.reveal().to_owned());
        }
        let accounts = Accounts::open(store, issuer.host.clone(), Limits::default());
        let accounts = Arc::new(accounts.await.unwrap());
        let access = Access::open(issuer, ListedKeys::default(), accounts).await;
        let access = access.unwrap();
        let [key, other, admin] = keys.try_into().expect("three keys");
        Self {
            server: Server::guarded(part, &[ECHO], settings, service, access),
            key,
            other,
            admin,
        }
    }

    async fn ask(&self, key: &str, call: Call) -> Answer {
        self.server.send(call.header("X-API-Key", key)).await
    }

    async fn run(&self, key: &str) -> Answer {
        self.ask(key, run()).await
    }
}

fn run() -> Call {
    Call::post("/run", r#"{"message": "hi"}"#)
}

fn job() -> Call {
    Call::post("/jobs", r#"{"inputs": {"message": "hi"}}"#)
}

#[track_caller]
fn check_refused(answer: &Answer, code: &str, policy: &str, state: &str) {
    assert_eq!(answer.status, 429, "{}", answer.body);
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["retryable"], true);
    let header = |name| answer.headers(name).join(", ");
    assert_eq!(header("ratelimit-policy"), policy);
    let shown = header("ratelimit");
    assert!(shown.starts_with(state), "{shown}");
    let seconds: u64 = header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&seconds), "{seconds}");
}

fn requests(most: u32) -> Limits {
    Limits {
        requests_per_minute: NonZeroU32::new(most),
        ..Limits::default()
    }
}

#[tokio::test]
async fn requests_a_minute_are_counted_by_key_and_told_with_every_answer() {
    let limited = Limited::start(Part::Echo, requests(3)).await;
    for left in [2, 1] {
        let answer = limited.run(&limited.key).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"default\";q=3;w=60")
        );
        let state = answer.header("ratelimit").unwrap();
        assert!(
            state.starts_with(&format!("\"default\";r={left};t=")),
            "{state}"
        );
    }
    // What is refused for another reason counts, too.
    assert_eq!(
        limited.ask(&limited.key, Call::get("/keys")).await.status,
        403
    );
    let refused = limited.run(&limited.key).await;
    check_refused(
        &refused,
        "rate_limited",
        "\"default\";q=3;w=60",
        "\"default\";r=0;t=",
    );
    assert_eq!(limited.run(&limited.other).await.status, 200);
    assert_eq!(limited.server.model.calls(), 3);
    let admin = limited.ask(&limited.admin, Call::get("/metrics")).await;
    assert_eq!(admin.header("ratelimit"), None);
    let line = r#"flowmill_limited_total{limit="requests"} 1"#;
    assert!(admin.body.contains(line), "{}", admin.body);
}

/// A large body that is still being sent does not keep the client from reading why it was refused.
#[tokio::test]
async fn a_request_too_many_is_refused_before_its_body_is_read() {
    let limited = Limited::start(Part::Echo, requests(1)).await;
    assert_eq!(limited.run(&limited.key).await.status, 200);
    let body = format!("{{\"message\": \"{}\"}}", "x".repeat(8 << 20));
    let refused = limited.ask(&limited.key, Call::post("/run", body)).await;
    assert_eq!(refused.status, 429);
}

fn by_address(most: u32, trusted: &[&str]) -> server::Settings {
    server::Settings {
        address_requests_per_minute: NonZeroU32::new(most),
        trusted_proxies: trusted
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
        ..server::Settings::default()
    }
}

#[tokio::test]
async fn without_a_good_key_requests_are_counted_by_address() {
    let (limits, service) = (Limits::default(), service::Settings::default());
    let limited = Limited::with(Part::Echo, limits, by_address(3, &[]), service).await;
    let ask = |call: Call| limited.server.send(call);
    assert_eq!(ask(run()).await.status, 401);
    assert_eq!(ask(run().header("X-API-Key", "fm_a_b")).await.status, 401);
    let page = ask(Call::get("/").header("Accept", "text/html")).await;
    assert_eq!(
        (page.status, page.header("ratelimit-policy")),
        (200, Some("\"address\";q=3;w=60"))
    );
    for call in [
        run(),
        Call::get("/").header("Accept", "text/html"),
        Call::get("/ui/playground.js"),
    ] {
        // Nobody believes what the headers say.
        let refused = ask(call.header("X-Forwarded-For", "198.51.100.7")).await;
        check_refused(
            &refused,
            "rate_limited",
            "\"address\";q=3;w=60",
            "\"address\";r=0;t=",
        );
    }
    assert_eq!(limited.run(&limited.key).await.status, 200);
    for path in ["/health", "/health/live", "/health/ready"] {
        let answer = ask(Call::get(path)).await;
        assert_eq!(
            (answer.status, answer.header("ratelimit")),
            (200, None),
            "{path}"
        );
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_counted_too() {
    let server = Server::with(
        Part::Echo,
        &[ECHO],
        by_address(3, &[]),
        service::Settings::default(),
    );
    let statuses = |call: Call| async { server.send(call).await.status };
    assert_eq!(statuses(Call::get("/wp-login.php")).await, 404);
    assert_eq!(statuses(Call::new("DELETE", "/run")).await, 405);
    assert_eq!(statuses(Call::get("/jobs/")).await, 307);
    for call in [
        Call::get("/.env"),
        Call::new("DELETE", "/run"),
        Call::get("/jobs/"),
    ] {
        assert_eq!(statuses(call).await, 429);
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_is_counted_by_itself() {
    let server = Server::with(
        Part::Echo,
        &[ECHO],
        by_address(1, &["127.0.0.0/8"]),
        service::Settings::default(),
    );
    let ask = async |from: &str| {
        let call = run().header("X-Forwarded-For", from);
        server.send(call).await.status
    };
    assert_eq!(ask("198.51.100.7").await, 200);
    assert_eq!(ask("1.1.1.1, 198.51.100.7").await, 429);
    assert_eq!(ask("198.51.100.8").await, 200);
    assert_eq!(ask("2001:db8::1").await, 200);
    assert_eq!(ask("2001:db8::2").await, 429);
}

fn in_flight(running: u32, queued: Option<u32>) -> Limits {
    Limits {
        max_running: NonZeroU32::new(running),
        max_queued: queued,
        ..Limits::default()
    }
}

#[tokio::test]
async fn runs_in_flight_are_counted_by_key_until_they_end() {
    let limited = Limited::start(Part::Gated, in_flight(2, None)).await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        jobs.push(limited.ask(&limited.key, job()).await.job_id());
    }
    for call in [job(), run()] {
        let refused = limited.ask(&limited.key, call).await;
        let policy = "\"running\";q=2;qu=\"concurrent-requests\"";
        check_refused(&refused, "too_many_running", policy, "\"running\";r=0");
    }
    assert_eq!(limited.ask(&limited.other, job()).await.status, 202);
    let listed = limited.ask(&limited.key, Call::get("/jobs")).await.json();
    assert_eq!(
        listed["jobs"].as_array().unwrap().len(),
        2,
        "nothing was stored"
    );

    limited.server.until_asked(3).await;
    limited.server.model.let_go(3);
    let wait = Call::get(format!("/jobs/{}", jobs[0])).header("Prefer", "wait=10");
    assert_eq!(
        limited.ask(&limited.key, wait).await.json()["status"],
        "completed"
    );
    // Whoever knows that it has ended may start the next.
    assert_eq!(limited.ask(&limited.key, job()).await.status, 202);
}

#[tokio::test]
async fn a_cancelled_run_leaves_its_place() {
    let limited = Limited::start(Part::Gated, in_flight(1, None)).await;
    for _ in 0..3 {
        let id = limited.ask(&limited.key, job()).await.job_id();
        assert_eq!(limited.ask(&limited.key, job()).await.status, 429);
        limited
            .ask(&limited.key, Call::post(format!("/jobs/{id}/cancel"), ""))
            .await;
        let wait = Call::get(format!("/jobs/{id}")).header("Prefer", "wait=10");
        assert_eq!(
            limited.ask(&limited.key, wait).await.json()["status"],
            "cancelled"
        );
    }
}

#[tokio::test]
async fn places_in_the_queue_are_counted_by_key() {
    let one_at_a_time = service::Settings {
        max_running: 1,
        ..service::Settings::default()
    };
    let settings = server::Settings::default();
    let limited = Limited::with(Part::Gated, in_flight(9, Some(1)), settings, one_at_a_time).await;
    let running = limited.ask(&limited.key, job()).await.job_id();
    limited.server.until_asked(1).await;
    let waiting = limited.ask(&limited.key, job()).await.job_id();
    let refused = limited.ask(&limited.key, job()).await;
    let policy = "\"queued\";q=1;qu=\"concurrent-requests\"";
    check_refused(&refused, "too_many_queued", policy, "\"queued\";r=0");
    let usage = limited.ask(&limited.key, Call::get("/usage")).await.json();
    let usage = &usage["keys"][0];
    assert_eq!(
        (&usage["running"], &usage["waiting"]),
        (&json!(1), &json!(1))
    );

    // A place is free when a job is cancelled before it began, and when one begins.
    limited
        .ask(
            &limited.key,
            Call::post(format!("/jobs/{waiting}/cancel"), ""),
        )
        .await;
    assert_eq!(limited.ask(&limited.key, job()).await.status, 202);
    assert_eq!(limited.ask(&limited.key, job()).await.status, 429);
    limited
        .ask(
            &limited.key,
            Call::post(format!("/jobs/{running}/cancel"), ""),
        )
        .await;
    limited.server.until_asked(2).await;
    assert_eq!(limited.ask(&limited.key, job()).await.status, 202);
}

#[tokio::test]
async fn a_repeated_request_is_not_refused_for_what_it_repeats() {
    let limited = Limited::start(Part::Gated, in_flight(1, None)).await;
    let keyed = |key: &str| job().header("Idempotency-Key", key);
    let first = limited.ask(&limited.key, keyed("a")).await.job_id();
    let again = limited.ask(&limited.key, keyed("a")).await;
    assert_eq!(
        (again.status, again.header("idempotency-replayed")),
        (202, Some("true"))
    );
    assert_eq!(again.job_id(), first);
    let other =
        Call::post("/jobs", r#"{"inputs": {"message": "else"}}"#).header("Idempotency-Key", "a");
    assert_eq!(limited.ask(&limited.key, other).await.status, 422);
    assert_eq!(limited.ask(&limited.key, keyed("b")).await.status, 429);
    limited.server.until_asked(1).await;
    assert_eq!(limited.server.model.calls(), 1);
}

/// The test model takes 5 tokens and 0.25 dollars a call, and says that no call costs more.
fn tokens(a_day: u64) -> Limits {
    Limits {
        tokens_per_day: NonZeroU64::new(a_day),
        ..Limits::default()
    }
}

fn dollars(a_day: f64) -> Limits {
    Limits {
        cost_per_day_usd: Some(a_day),
        ..Limits::default()
    }
}

#[tokio::test]
async fn what_is_left_of_a_day_decides_whether_a_call_is_made() {
    let limited = Limited::start(Part::Echo, dollars(0.6)).await;
    assert_eq!(limited.run(&limited.key).await.status, 200);
    assert_eq!(limited.run(&limited.key).await.status, 200);
    // 0.1 dollars are left: the run is accepted, and its call not made.
    let failed = limited.run(&limited.key).await;
    assert_eq!(failed.status, 429, "{}", failed.body);
    let problem = failed.json();
    assert_eq!(
        (&problem["code"], &problem["error_source"]),
        (&json!("quota_exhausted"), &json!("request"))
    );
    assert!(problem["job_id"].is_string(), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("0.5 of 0.6 US dollars per day"), "{detail}");
    assert!(detail.contains("resets at 2025-11-2"), "{detail}");
    let seconds: u64 = failed.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&seconds), "{seconds}");
    assert_eq!(limited.server.model.calls(), 2);
    assert_eq!(limited.run(&limited.other).await.status, 200);
}

#[tokio::test]
async fn once_a_quota_is_used_up_nothing_is_accepted() {
    let limited = Limited::start(Part::Echo, dollars(0.5)).await;
    for _ in 0..2 {
        assert_eq!(limited.run(&limited.key).await.status, 200);
    }
    for call in [run(), job()] {
        let refused = limited.ask(&limited.key, call).await;
        let policy = "\"cost-per-day\";q=500000;w=86400;qu=\"micro-usd\"";
        check_refused(
            &refused,
            "quota_exhausted",
            policy,
            "\"cost-per-day\";r=0;t=",
        );
        assert!(refused.json()["job_id"].is_null());
    }
    let listed = limited.ask(&limited.key, Call::get("/jobs")).await.json();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 2);
}

/// 200 runs at once against a budget for 10: the model is asked 10 times, and never more was set aside
/// than there was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_at_once_spend_no_more_than_there_is() {
    let limited = Arc::new(Limited::start(Part::Echo, dollars(2.5)).await);
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let limited = limited.clone();
        asking.spawn(async move { limited.run(&limited.key).await.status });
    }
    let statuses = asking.join_all().await;
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(429)), (10, 190));
    assert_eq!(limited.server.model.calls(), 10);
    let usage = limited.ask(&limited.key, Call::get("/usage")).await.json();
    assert_eq!(usage["keys"][0]["today"]["cost_usd"], 2.5);
    assert_eq!(usage["keys"][0]["left"]["cost_usd"], 0.0);
}

/// What calls under way have set aside keeps others waiting, not failing: most of it comes back.
#[tokio::test]
async fn a_call_waits_for_what_others_have_set_aside_and_may_not_need() {
    // A call without max_tokens sets 4,096 tokens aside for its answer, and takes 5.
    let limited = Limited::start(Part::Gated, tokens(6_000)).await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(limited.ask(&limited.key, job()).await.job_id());
    }
    limited.server.until_asked(1).await;
    for _ in 0..3 {
        assert!(limited.server.model.calls() <= 3);
        limited.server.model.let_go(1);
    }
    for id in jobs {
        let wait = Call::get(format!("/jobs/{id}")).header("Prefer", "wait=10");
        assert_eq!(
            limited.ask(&limited.key, wait).await.json()["status"],
            "completed"
        );
    }
    let usage = limited.ask(&limited.key, Call::get("/usage")).await.json();
    assert_eq!(usage["keys"][0]["left"]["tokens"], 6_000 - 15);
}

#[tokio::test]
async fn a_call_that_never_fits_is_not_made() {
    let limited = Limited::start(Part::Echo, tokens(1_000)).await;
    let failed = limited.run(&limited.key).await;
    assert_eq!(
        (failed.status, &failed.json()["code"]),
        (429, &json!("quota_exhausted"))
    );
    assert_eq!(limited.server.model.calls(), 0);
}

#[tokio::test]
async fn a_failed_call_costs_nothing() {
    let part = Part::Fail(llm::error::ErrorKind::Overloaded);
    let limited = Limited::start(part, dollars(0.3)).await;
    for _ in 0..5 {
        assert_eq!(limited.run(&limited.key).await.status, 502);
    }
    let usage = limited.ask(&limited.key, Call::get("/usage")).await.json();
    assert_eq!(usage["keys"][0]["left"]["cost_usd"], 0.3);
}

#[tokio::test]
async fn usage_is_each_keys_own_and_an_admins_to_see() {
    let limited = Limited::start(Part::Echo, tokens(100_000)).await;
    limited.run(&limited.key).await;
    limited.run(&limited.key).await;
    let ask = async |key: &str, path: &str| limited.ask(key, Call::get(path)).await;
    let own = ask(&limited.key, "/usage").await.json();
    let keys = own["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    let usage = &keys[0];
    let id = limited.key.split('_').nth(1).unwrap();
    assert_eq!(usage["key"], id);
    let today = json!({
        "day": usage["today"]["day"], "requests": 3, "runs": 2, "model_calls": 2,
        "input_tokens": 6, "output_tokens": 4, "cost_usd": 0.5,
    });
    assert_eq!(usage["today"], today);
    assert_eq!(usage["days"], json!([today]));
    assert_eq!(usage["left"], json!({"tokens": 99_990, "cost_usd": null}));
    assert_eq!(usage["limits"]["tokens_per_day"], 100_000);
    assert!(
        usage["renews_at"]
            .as_str()
            .unwrap()
            .ends_with("T00:00:00.000000Z")
    );

    let theirs = format!("/usage?key={id}");
    assert_eq!(ask(&limited.other, &theirs).await.status, 404);
    assert_eq!(ask(&limited.key, &theirs).await.status, 200);
    assert_eq!(
        ask(&limited.admin, &theirs).await.json()["keys"][0]["today"]["runs"],
        2
    );
    assert_eq!(ask(&limited.admin, "/usage?key=none").await.status, 404);
    let all = ask(&limited.admin, "/usage").await.json();
    assert_eq!(all["keys"].as_array().unwrap().len(), 3);
    assert_eq!(ask(&limited.admin, "/usage?key=a&key=b").await.status, 422);
}

#[tokio::test]
async fn limits_are_given_with_a_key_and_kept_when_it_is_rotated() {
    let limited = Limited::start(Part::Echo, Limits::default()).await;
    let admin = async |call| limited.ask(&limited.admin, call).await;
    let body =
        r#"{"name": "shop", "limits": {"requests_per_minute": 2.0, "cost_per_day_usd": 1.5}}"#;
    let made = admin(Call::post("/keys", body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    let expected = json!({
        "requests_per_minute": 2, "max_running": null, "max_queued": null,
        "tokens_per_day": null, "cost_per_day_usd": 1.5,
    });
    assert_eq!(made["limits"], expected);
    let rotate = format!("/keys/{}/rotate", made["id"].as_str().unwrap());
    let rotated = admin(Call::post(rotate, "")).await.json();
    assert_eq!(rotated["limits"], expected);
    let key = rotated["key"].as_str().unwrap();
    let answer = limited.run(key).await;
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"default\";q=2;w=60")
    );
    let listed = admin(Call::get("/keys")).await.json();
    let shop = listed["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["id"] == made["id"]);
    assert_eq!(shop.unwrap()["limits"], expected);

    for limits in [
        json!({"requests_per_minute": 0}),
        json!({"max_running": 0}),
        json!({"max_queued": -1}),
        json!({"max_queued": 5_000_000_000_u64}),
        json!({"tokens_per_day": 1.5}),
        json!({"tokens": 5}),
        json!([5]),
        json!("none"),
    ] {
        let body = json!({"name": "x", "limits": limits}).to_string();
        let refused = admin(Call::post("/keys", body)).await;
        assert_eq!(refused.status, 422, "{limits}");
        let faults: Value = refused.json();
        assert_eq!(faults["detail"][0]["loc"], json!(["body", "limits"]));
    }
    let body = r#"{"name": "x", "limits": {"cost_per_day_usd": 0}}"#;
    assert_eq!(admin(Call::post("/keys", body)).await.status, 422);
}
