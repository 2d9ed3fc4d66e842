//! Who may do what: every route, asked by everybody.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::SignedDuration;
use jobs::memory::MemoryStore;
use serde_json::{Value, json};
use service::access::{Access, Grants, KeyIssuer, ListedKeys, NewKey, Scope, SecretSource};
use service::limits::{Accounts, Limits};
use service::submission::RunRequest;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{Answer, Call, Opened};
use crate::machine::Machine;
use crate::models::Part;
use crate::server::{ECHO, Server, echo_named};

#[derive(Debug, Default)]
pub(crate) struct Counting(AtomicU8);

impl SecretSource for Counting {
    fn secret(&self) -> [u8; 32] {
        [self.0.fetch_add(1, Ordering::SeqCst); 32]
    }
}

/// Somebody with a key, or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    WrongKey,
    Expired,
    Revoked,
    /// May run and read; the jobs asked about are theirs.
    Owner,
    /// May run and read; the jobs asked about are not theirs.
    Other,
    RunOnly,
    ReadOnly,
    MetricsOnly,
    /// May run and read another workflow.
    Elsewhere,
    Admin,
}

const EVERYBODY: [Who; 11] = [
    Who::Nobody,
    Who::WrongKey,
    Who::Expired,
    Who::Revoked,
    Who::Owner,
    Who::Other,
    Who::RunOnly,
    Who::ReadOnly,
    Who::MetricsOnly,
    Who::Elsewhere,
    Who::Admin,
];

impl Who {
    /// What their key grants, where it is good.
    fn scopes(self) -> Option<&'static [Scope]> {
        match self {
            Self::Nobody | Self::WrongKey | Self::Expired | Self::Revoked => None,
            Self::Owner | Self::Other | Self::Elsewhere => Some(&[Scope::Run, Scope::Read]),
            Self::RunOnly => Some(&[Scope::Run]),
            Self::ReadOnly => Some(&[Scope::Read]),
            Self::MetricsOnly => Some(&[Scope::Metrics]),
            Self::Admin => Some(&Scope::ALL),
        }
    }
}

/// What a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Everyone,
    AnyKey,
    Runners,
    Readers,
    Scrapers,
    Admins,
}

/// All routes. One that is missing here, or does not exist, fails the test.
const ROUTES: [(&str, &str, For); 35] = [
    ("get", "/", For::AnyKey),
    ("post", "/cancel/{job_id}", For::Runners),
    ("get", "/docs", For::AnyKey),
    ("get", "/health", For::Everyone),
    ("get", "/health/live", For::Everyone),
    ("get", "/health/ready", For::Everyone),
    ("get", "/jobs", For::Readers),
    ("post", "/jobs", For::Runners),
    ("delete", "/jobs/{job_id}", For::Runners),
    ("get", "/jobs/{job_id}", For::Readers),
    ("post", "/jobs/{job_id}/cancel", For::Runners),
    ("get", "/jobs/{job_id}/events", For::Readers),
    ("post", "/jobs/{job_id}/retry", For::Runners),
    ("get", "/keys", For::Admins),
    ("post", "/keys", For::Admins),
    ("delete", "/keys/{key_id}", For::Admins),
    ("post", "/keys/{key_id}/rotate", For::Admins),
    ("get", "/metrics", For::Scrapers),
    ("get", "/openapi.json", For::AnyKey),
    ("post", "/run", For::Runners),
    ("get", "/schema", For::AnyKey),
    ("get", "/status/{job_id}", For::Readers),
    ("get", "/usage", For::Readers),
    ("get", "/workflows", For::AnyKey),
    ("get", "/workflows/echo/docs", For::AnyKey),
    ("get", "/workflows/echo/openapi.json", For::AnyKey),
    ("post", "/workflows/echo/run", For::Runners),
    ("get", "/workflows/echo/schema", For::AnyKey),
    ("get", "/workflows/{name}", For::AnyKey),
    // No part of the API, and so in no document.
    ("get", "/ui/{file}", For::Everyone),
    // The same with HEAD.
    ("head", "/jobs", For::Readers),
    ("head", "/jobs/{job_id}", For::Readers),
    ("head", "/openapi.json", For::AnyKey),
    ("head", "/keys", For::Admins),
    ("head", "/health", For::Everyone),
];

struct Guarded {
    server: Server,
    keys: Vec<(Who, String)>,
}

impl Guarded {
    async fn start(workflows: &[&str]) -> Self {
        let store = Arc::new(MemoryStore::default());
        let secrets = Arc::new(Counting::default());
        let issuer = |host| KeyIssuer {
            store: store.clone(),
            host: Arc::new(host),
            secrets: secrets.clone(),
        };
        let made_in = issuer(Machine::new());
        let mut keys = vec![(Who::WrongKey, format!("fm_nobody_{}", "A".repeat(43)))];
        for who in EVERYBODY {
            let scopes = match who {
                Who::Nobody | Who::WrongKey => continue,
                Who::Expired | Who::Revoked => &[Scope::Admin][..],
                who => who.scopes().unwrap(),
            };
            let workflows = (who == Who::Elsewhere).then(|| ["elsewhere".to_owned()].into());
            let lasts = if who == Who::Expired { 1 } else { 10_000_000 };
            let made = made_in
                .create(NewKey {
                    name: format!("{who:?}"),
                    grants: Grants {
                        scopes: scopes.iter().copied().collect(),
                        workflows,
                        ..Grants::default()
                    },
                    expires_at: Some(made_in.host.now() + SignedDuration::from_secs(lasts)),
                })
                .await
                .unwrap();
            if who == Who::Revoked {
                made_in.revoke(&made.view.id).await.unwrap();
            }
            keys.push((who, made.key.reveal().to_owned()));
        }
        let later = issuer(Machine::ahead_by(SignedDuration::from_hours(1)));
        let accounts = Accounts::open(store.clone(), later.host.clone(), Limits::default());
        let accounts = Arc::new(accounts.await.unwrap());
        let access = Access::open(later, ListedKeys::default(), accounts)
            .await
            .unwrap();
        let server = Server::guarded(
            Part::Echo,
            workflows,
            server::Settings::default(),
            service::Settings::default(),
            Some(access.expect("there are keys")),
        );
        Self { server, keys }
    }

    fn key(&self, who: Who) -> Option<&str> {
        let found = self.keys.iter().find(|(owner, _)| *owner == who);
        found.map(|(_, key)| &**key)
    }

    async fn ask(&self, who: Who, call: Call) -> Answer {
        let call = match self.key(who) {
            Some(key) => call.header("Authorization", &format!("Bearer {key}")),
            None => call,
        };
        self.server.send(call).await
    }

    /// A job of theirs that has completed.
    async fn job_of(&self, who: Who) -> String {
        let answer = self
            .ask(
                who,
                Call::post("/workflows/echo/run", r#"{"message": "hi"}"#),
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.job_id()
    }

    async fn fresh_key_id(&self) -> String {
        let answer = self
            .ask(Who::Admin, Call::post("/keys", r#"{"name": "fresh"}"#))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// A request to that route that is good but for who sends it.
    async fn call(&self, method: &str, path: &str) -> Call {
        let mut path = path
            .replace("{name}", "echo")
            .replace("{file}", "playground.js");
        if path.contains("{job_id}") {
            path = path.replace("{job_id}", &self.job_of(Who::Owner).await);
        }
        if path.contains("{key_id}") {
            path = path.replace("{key_id}", &self.fresh_key_id().await);
        }
        let body = match &*path {
            "/jobs" => r#"{"inputs": {"message": "hi"}, "workflow": "echo"}"#,
            "/keys" => r#"{"name": "made"}"#,
            path if path.ends_with("/run") => r#"{"message": "hi"}"#,
            _ => "{}",
        };
        match method {
            "get" => Call::get(path),
            "head" => Call::new("HEAD", path),
            "delete" => Call::new("DELETE", path),
            "post" => Call::post(path, body),
            other => panic!("{other}"),
        }
    }
}

/// How an answer looks from outside.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Through,
    NoKey,
    NoScope,
    OtherWorkflow,
    NotFound,
}

impl Outcome {
    fn of(answer: &Answer) -> Self {
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match (answer.status, body["code"].as_str()) {
            (401, _) => Self::NoKey,
            (403, Some("workflow_not_allowed")) => Self::OtherWorkflow,
            (403, _) => Self::NoScope,
            (404, _) => Self::NotFound,
            _ => Self::Through,
        }
    }

    fn expected(path: &str, route: For, who: Who) -> Self {
        if route == For::Everyone {
            return Self::Through;
        }
        let Some(scopes) = who.scopes() else {
            return Self::NoKey;
        };
        let needed = match route {
            For::Everyone | For::AnyKey => None,
            For::Runners => Some(Scope::Run),
            For::Readers => Some(Scope::Read),
            For::Scrapers => Some(Scope::Metrics),
            For::Admins => Some(Scope::Admin),
        };
        if needed.is_some_and(|scope| !scopes.contains(&scope)) {
            return Self::NoScope;
        }
        let is_about_jobs = path.contains("{job_id}");
        if is_about_jobs && !matches!(who, Who::Owner | Who::Admin) {
            return Self::NotFound;
        }
        let names_workflow = path.starts_with("/workflows/")
            || ["/run", "/schema", "/openapi.json", "/docs"].contains(&path)
            || (path == "/jobs" && route == For::Runners);
        if names_workflow && who == Who::Elsewhere {
            return Self::OtherWorkflow;
        }
        Self::Through
    }
}

#[tokio::test]
async fn every_route_is_for_those_it_is_for() {
    let guarded = Guarded::start(&[ECHO]).await;
    let mut documented = BTreeSet::new();
    for path in ["/openapi.json", "/workflows/echo/openapi.json"] {
        let document = guarded.ask(Who::Admin, Call::get(path)).await.json();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                documented.insert((method.clone(), path.clone()));
            }
        }
    }
    let expected: BTreeSet<_> = ROUTES
        .iter()
        .filter(|(method, path, _)| *method != "head" && !path.starts_with("/ui/"))
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(documented, expected, "a route is not in this test's table");

    let mut wrong = Vec::new();
    for (method, path, route) in ROUTES {
        for who in EVERYBODY {
            let call = guarded.call(method, path).await;
            let answer = guarded.ask(who, call).await;
            let mut expected = Outcome::expected(path, route, who);
            if method == "head" && expected == Outcome::OtherWorkflow {
                // It has no body that would say why.
                expected = Outcome::NoScope;
            }
            let found = Outcome::of(&answer);
            if found != expected {
                wrong.push(format!(
                    "{method} {path} {who:?}: {found:?} for {expected:?}: {}",
                    answer.body
                ));
            }
            if answer.status == 401
                && answer.header("www-authenticate") != Some("Bearer realm=\"flowmill\"")
            {
                wrong.push(format!(
                    "{method} {path} {who:?}: 401 without WWW-Authenticate"
                ));
            }
            let secret = guarded.key(who).and_then(|key| key.rsplit_once('_'));
            if secret.is_some_and(|(_, secret)| answer.body.contains(secret)) {
                wrong.push(format!("{method} {path} {who:?}: the answer holds the key"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_not_told() {
    let guarded = Guarded::start(&[ECHO]).await;
    let mut answers = Vec::new();
    for who in [Who::Nobody, Who::WrongKey, Who::Expired, Who::Revoked] {
        let call = Call::get("/jobs").header("X-Request-Id", "same");
        let answer = guarded.ask(who, call).await;
        answers.push((answer.status, answer.body));
    }
    assert_eq!(answers[0].0, 401);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:#?}"
    );
}

#[tokio::test]
async fn a_key_may_come_as_either_header() {
    let guarded = Guarded::start(&[ECHO]).await;
    let key = guarded.key(Who::ReadOnly).unwrap();
    let call = Call::get("/jobs").header("X-API-Key", key);
    assert_eq!(guarded.server.send(call).await.status, 200);
    let call = Call::get(format!("/jobs?api_key={key}"));
    assert_eq!(guarded.server.send(call).await.status, 401);
}

#[tokio::test]
async fn a_list_shows_each_key_its_own_jobs_and_an_admin_all() {
    let guarded = Guarded::start(&[ECHO]).await;
    let mine = guarded.job_of(Who::Owner).await;
    let theirs = guarded.job_of(Who::Other).await;
    let list = async |who| {
        let page = guarded.ask(who, Call::get("/jobs")).await.json();
        let jobs = page["jobs"].as_array().unwrap().iter();
        jobs.map(|job| job["job_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(Who::Owner).await, [&*mine]);
    assert_eq!(list(Who::Other).await, [&*theirs]);
    assert_eq!(list(Who::ReadOnly).await, [""; 0]);
    assert_eq!(list(Who::Admin).await, [theirs, mine]);
}

#[tokio::test]
async fn an_idempotency_key_is_each_api_keys_own() {
    let guarded = Guarded::start(&[ECHO]).await;
    let run = async |who| {
        let call = Call::post("/run", r#"{"message": "hi"}"#).header("Idempotency-Key", "k");
        let answer = guarded.ask(who, call).await;
        (
            answer.header("idempotency-replayed").is_some(),
            answer.job_id(),
        )
    };
    let first = run(Who::Owner).await;
    let again = run(Who::Owner).await;
    let other = run(Who::Other).await;
    assert_eq!((first.0, again.0, other.0), (false, true, false));
    assert_eq!(first.1, again.1);
    assert_ne!(first.1, other.1);
}

#[tokio::test]
async fn a_retry_belongs_to_whom_the_job_belongs() {
    let guarded = Guarded::start(&[ECHO]).await;
    let job = guarded.job_of(Who::Owner).await;
    let retry = Call::post(format!("/jobs/{job}/retry"), r#"{"from": "say"}"#);
    let again = guarded.ask(Who::Admin, retry).await.job_id();
    let look = async |who| {
        guarded
            .ask(who, Call::get(format!("/jobs/{again}")))
            .await
            .status
    };
    assert_eq!((look(Who::Owner).await, look(Who::Other).await), (200, 404));
}

#[tokio::test]
async fn a_restricted_key_learns_nothing_of_other_workflows() {
    let guarded = Guarded::start(&[ECHO, &echo_named("elsewhere")]).await;
    let listed = guarded
        .ask(Who::Elsewhere, Call::get("/workflows"))
        .await
        .json();
    let names: Vec<_> = listed["workflows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["elsewhere"]);
    let run =
        async |path: &str, body: &str| guarded.ask(Who::Elsewhere, Call::post(path, body)).await;
    assert_eq!(
        run("/workflows/elsewhere/run", r#"{"message": "hi"}"#)
            .await
            .status,
        200
    );
    // One that is there and one that is not are answered alike.
    for name in ["echo", "absent"] {
        let answer = run(&format!("/workflows/{name}/run"), r#"{"message": "hi"}"#).await;
        assert_eq!(answer.json()["code"], "workflow_not_allowed", "{name}");
        let body = json!({ "inputs": {}, "workflow": name }).to_string();
        assert_eq!(
            run("/jobs", &body).await.json()["code"],
            "workflow_not_allowed",
            "{name}"
        );
    }
}

/// As one has after its list of workflows was shortened.
#[tokio::test]
async fn a_key_narrowed_to_fewer_workflows_does_not_list_the_jobs_of_others() {
    let guarded = Guarded::start(&[ECHO, &echo_named("elsewhere")]).await;
    let key = guarded.key(Who::Elsewhere).unwrap();
    let owner = key.split('_').nth(1).unwrap();
    let service = &guarded.server.service;
    let mut ids = Vec::new();
    for name in ["echo", "elsewhere", "echo"] {
        let workflow = service.catalog().get(name).unwrap();
        let request = RunRequest {
            inputs: json!({ "message": "hi" }).as_object().unwrap().clone(),
            owner: Some(owner.into()),
            ..RunRequest::default()
        };
        let accepted = service.submit(&workflow, request).await.unwrap();
        ids.push((name, accepted.id.to_string()));
    }
    let listed = async |query: &str| {
        let call = Call::get(format!("/jobs{query}"));
        let page = guarded.ask(Who::Elsewhere, call).await.json();
        let rows = page["jobs"].as_array().unwrap().clone();
        let names = rows
            .iter()
            .map(|row| row["workflow"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(listed("").await, ["elsewhere"]);
    assert_eq!(listed("?limit=1").await, ["elsewhere"]);
    assert_eq!(listed("?workflow=elsewhere").await, ["elsewhere"]);
    assert_eq!(listed("?workflow=echo").await, [""; 0]);
    for (name, id) in ids {
        for path in ["", "/events"] {
            let call = Call::get(format!("/jobs/{id}{path}"));
            let status = guarded.ask(Who::Elsewhere, call).await.status;
            assert_eq!(
                status,
                if name == "echo" { 404 } else { 200 },
                "{name}{path}"
            );
        }
    }
}

#[tokio::test]
async fn pages_are_there_for_a_browser_and_tell_nothing() {
    let guarded = Guarded::start(&[ECHO, &echo_named("elsewhere")]).await;
    for path in [
        "/",
        "/workflows/echo",
        "/workflows/absent",
        "/workflows/echo/docs",
        "/workflows/absent/docs",
    ] {
        let page = guarded
            .ask(Who::Nobody, Call::get(path).header("Accept", "text/html"))
            .await;
        assert_eq!(page.status, 200, "{path}");
        assert!(
            !page.body.contains("elsewhere") && !page.body.contains("Repeats what"),
            "{path}"
        );
    }
    // With a key as without keys at all.
    let absent = Call::get("/workflows/absent").header("Accept", "text/html");
    assert_eq!(guarded.ask(Who::Admin, absent).await.status, 404);
}

#[tokio::test]
async fn keys_are_made_rotated_and_revoked_by_an_admin() {
    let guarded = Guarded::start(&[ECHO]).await;
    let admin = async |call| guarded.ask(Who::Admin, call).await;
    let works = async |key: &str| {
        let call = Call::get("/jobs").header("X-API-Key", key);
        guarded.server.send(call).await.status
    };
    let made = admin(Call::post(
        "/keys",
        r#"{"name": "shop", "scopes": ["read"], "workflows": ["echo"]}"#,
    ))
    .await;
    assert_eq!(
        (made.status, made.header("cache-control")),
        (201, Some("no-store"))
    );
    let made = made.json();
    let (id, first) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(
        (&made["scopes"], &made["workflows"]),
        (&json!(["read"]), &json!(["echo"]))
    );
    assert_eq!(works(first).await, 200);

    let rotated = admin(Call::post(
        format!("/keys/{id}/rotate"),
        r#"{"grace_seconds": 60}"#,
    ))
    .await
    .json();
    let second = rotated["key"].as_str().unwrap();
    assert_eq!((works(first).await, works(second).await), (200, 200));
    let third = admin(Call::post(format!("/keys/{id}/rotate"), ""))
        .await
        .json();
    let third = third["key"].as_str().unwrap();
    assert_eq!((works(second).await, works(third).await), (401, 200));

    let revoked = admin(Call::new("DELETE", format!("/keys/{id}"))).await;
    assert_eq!(
        (revoked.status, &revoked.json()["state"]),
        (200, &json!("revoked"))
    );
    assert_eq!(works(third).await, 401);
    assert_eq!(
        admin(Call::new("DELETE", format!("/keys/{id}")))
            .await
            .status,
        409
    );
    assert_eq!(admin(Call::new("DELETE", "/keys/none")).await.status, 404);

    let listed = admin(Call::get("/keys")).await;
    assert!(!listed.body.contains(third.rsplit_once('_').unwrap().1));
    let listed = listed.json();
    let shop = listed["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["id"] == id);
    assert!(shop.unwrap()["last_used_at"].is_string(), "{listed}");
}

#[tokio::test]
async fn a_key_that_makes_no_sense_is_refused() {
    let guarded = Guarded::start(&[ECHO]).await;
    let check = async |body: &str, places: Value| {
        let answer = guarded.ask(Who::Admin, Call::post("/keys", body)).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.body);
        assert!(!answer.body.contains("letmein"), "{}", answer.body);
        let faults = answer.json();
        let found: Vec<_> = faults["detail"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| fault["loc"].clone())
            .collect();
        assert_eq!(json!(found), places, "{body}");
    };
    check("{}", json!([["body", "name"]])).await;
    check(
        r#"{"name": 5, "scopes": ["write"], "workflows": "letmein", "expires_at": "letmein", "key": "letmein"}"#,
        json!([["body", "name"], ["body", "scopes"], ["body", "workflows"], ["body", "expires_at"], ["body", "key"]]),
    )
    .await;
    check(r#"{"name": "x", "scopes": []}"#, json!([["body"]])).await;
    check(
        r#"{"name": "x", "expires_at": "2001-01-01T00:00:00Z"}"#,
        json!([["body"]]),
    )
    .await;
    check(
        r#"{"name": "x", "scopes": ["admin"], "workflows": ["echo"]}"#,
        json!([["body"]]),
    )
    .await;
}

/// Else anyone who reaches an open server could shut the others out.
#[tokio::test]
async fn no_key_is_made_where_none_is_wanted() {
    let server = Server::start(Part::Echo);
    let answer = server
        .post("/keys", r#"{"name": "x", "scopes": ["admin"]}"#)
        .await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (409, &json!("keys_off"))
    );
    let document = server.get("/openapi.json").await.json();
    assert!(document["paths"]["/keys"].is_null());
    assert!(document["components"]["securitySchemes"].is_null());
    assert!(document["paths"]["/run"]["post"]["security"].is_null());
}

#[tokio::test]
async fn the_document_says_what_each_operation_needs() {
    let guarded = Guarded::start(&[ECHO]).await;
    let document = guarded
        .ask(Who::Admin, Call::get("/openapi.json"))
        .await
        .json();
    let security = |path: &str, method: &str| document["paths"][path][method]["security"].clone();
    assert_eq!(
        security("/run", "post"),
        json!([{"bearer": ["run"]}, {"api_key": ["run"]}])
    );
    assert_eq!(
        security("/schema", "get"),
        json!([{"bearer": []}, {"api_key": []}])
    );
    assert_eq!(security("/health", "get"), json!([]));
    assert_eq!(
        security("/", "get"),
        json!([{"bearer": []}, {"api_key": []}, {}])
    );
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    assert_eq!(
        document["components"]["securitySchemes"]["api_key"]["name"],
        "X-API-Key"
    );
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let is_guarded = operation["security"] != json!([]);
            assert_eq!(
                operation["responses"]["401"].is_object(),
                is_guarded,
                "{method} {path}"
            );
        }
    }
}

/// A large body that is still being sent does not keep the client from reading why it was refused.
#[tokio::test]
async fn a_refused_upload_can_be_read() {
    let guarded = Guarded::start(&[ECHO]).await;
    let body = format!("{{\"message\": \"{}\"}}", "x".repeat(8 << 20));
    let answer = guarded.ask(Who::Nobody, Call::post("/run", body)).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let guarded = Guarded::start(&[ECHO]).await;
    let mut stream = TcpStream::connect(guarded.server.address).await.unwrap();
    let head =
        "POST /run HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(Opened::read(stream, false).await.status, 401);
}
