//! Jobs: started, looked at, listed, cancelled, forgotten, repeated.

use serde_json::{Value, json};

use crate::client::Call;
use crate::models::Part;
use crate::server::Server;

const BODY: &str = r#"{"inputs": {"message": "hi"}, "metadata": {"team": "a"}}"#;

async fn ended(server: &Server, id: &str) -> Value {
    server
        .send(Call::get(format!("/jobs/{id}")).header("Prefer", "wait=10"))
        .await
        .json()
}

#[tokio::test]
async fn a_job_is_started_and_looked_at() {
    let server = Server::start(Part::Echo);
    let started = server.post("/jobs", BODY).await;
    assert_eq!(started.status, 202);
    let id = started.job_id();
    assert_eq!(started.header("location"), Some(&*format!("/status/{id}")));

    let job = ended(&server, &id).await;
    let keys: Vec<&String> = job.as_object().unwrap().keys().collect();
    let expected = [
        "job_id",
        "status",
        "created_at",
        "completed_at",
        "execution_time_ms",
        "outputs",
        "error",
        "workflow",
        "started_at",
        "usage",
        "problem",
        "metadata",
        "retried_from",
        "webhook",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        (&job["status"], &job["workflow"], &job["metadata"]),
        (&json!("completed"), &json!("echo"), &json!({ "team": "a" }))
    );
    assert!(job["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(server.get(&format!("/status/{id}")).await.json(), job);
}

#[tokio::test]
async fn faults_of_the_inputs_are_placed_within_the_envelope() {
    let server = Server::start(Part::Echo);
    let answer = server.post("/jobs", r#"{"inputs": {"message": 5}}"#).await;
    assert_eq!(
        (answer.status, &answer.json()["detail"][0]["loc"]),
        (422, &json!(["body", "inputs", "message"]))
    );
    assert_eq!(
        server
            .post("/jobs", r#"{"inputs": {}, "workflow": "other"}"#)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_webhook_is_checked_with_the_rest_and_shown_with_the_job() {
    let server = Server::start(Part::Gated);
    let refused = server
        .post(
            "/jobs",
            r#"{"inputs": {}, "deadline": -1, "webhook": {"url": "http://localhost", "secret": "hunter2"}}"#,
        )
        .await;
    assert_eq!(refused.status, 422);
    let faults = refused.json();
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
    let places: Vec<&Value> = faults["detail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| &fault["loc"])
        .collect();
    let expected = [
        json!(["body", "webhook", "url"]),
        json!(["body", "webhook", "secret"]),
        json!(["body", "deadline"]),
    ];
    assert_eq!(places, expected.iter().collect::<Vec<_>>());

    let body = r#"{"inputs": {"message": "hi"}, "webhook": {"url": "https://user:hunter2@example.com/hook?key=hunter2"}}"#;
    let id = server.post("/jobs", body).await.job_id();
    let shown = json!({
        "url": "https://example.com/hook", "state": "waiting", "attempts": 0, "last_error": null, "next_attempt_at": null,
    });
    let job = server.get(&format!("/jobs/{id}")).await.json();
    assert_eq!(job["webhook"], shown);
}

#[tokio::test]
async fn nothing_has_changed_until_it_has() {
    let server = Server::start(Part::Gated);
    let id = server.start_job().await;
    let path = format!("/status/{id}");
    let first = server.get(&path).await;
    let tag = first.header("etag").unwrap().to_owned();
    let again = server
        .send(Call::get(&path).header("If-None-Match", &tag))
        .await;
    assert_eq!(
        (again.status, &*again.body, again.header("etag")),
        (304, "", Some(&*tag))
    );

    server.model.let_go(1);
    let changed = server
        .send(
            Call::get(&path)
                .header("If-None-Match", &tag)
                .header("Prefer", "wait=10"),
        )
        .await;
    assert_eq!(
        (changed.status, &changed.json()["status"]),
        (200, &json!("completed"))
    );
    assert_eq!(changed.header("preference-applied"), Some("wait=10"));
}

#[tokio::test]
async fn no_such_job_however_it_is_spelled() {
    let server = Server::start(Part::Echo);
    for id in [
        "unknown",
        "019abcde-0000-7000-8000-000000000000",
        "019abcde000070008000000000000000",
        "%FF",
        "a%2Fb",
    ] {
        for path in [format!("/status/{id}"), format!("/jobs/{id}")] {
            let answer = server.get(&path).await;
            assert_eq!(
                (answer.status, answer.json()),
                (404, json!({ "detail": "Job not found" })),
                "{path}"
            );
        }
        for call in [
            Call::new("POST", format!("/jobs/{id}/cancel")),
            Call::new("POST", format!("/cancel/{id}")),
            Call::new("DELETE", format!("/jobs/{id}")),
            Call::new("POST", format!("/jobs/{id}/retry")),
        ] {
            assert_eq!(server.send(call).await.status, 404);
        }
    }
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat() {
    let server = Server::start(Part::Echo);
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = server.post("/jobs", BODY).await.job_id();
        ended(&server, &id).await;
        ids.insert(0, id);
    }
    let mut seen = Vec::new();
    let mut path = "/jobs?limit=2&status=completed&workflow=echo".to_owned();
    loop {
        let page = server.get(&path).await.json();
        let jobs = page["jobs"].as_array().unwrap();
        assert!(
            jobs.iter().all(
                |job| job.get("outputs").is_none() && job["metadata"] == json!({ "team": "a" })
            )
        );
        seen.extend(
            jobs.iter()
                .map(|job| job["job_id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/jobs?limit=2&cursor={cursor}");
        // One that comes meanwhile is newer than the cursor.
        server.post("/jobs", BODY).await;
    }
    assert_eq!(seen, ids);
    assert_eq!(
        server.get("/jobs?workflow=other").await.json(),
        json!({ "jobs": [], "next_cursor": null })
    );
    assert_eq!(
        server.get("/jobs?limit=0").await.json()["detail"][0]["loc"],
        json!(["query", "limit"])
    );
}

#[tokio::test]
async fn a_job_is_cancelled_once() {
    let server = Server::start(Part::Gated);
    let id = server.start_job().await;
    assert_eq!(
        server
            .send(Call::new("DELETE", format!("/jobs/{id}")))
            .await
            .json()["code"],
        "job_active"
    );

    let cancelling = server
        .send(Call::new("POST", format!("/jobs/{id}/cancel")))
        .await;
    assert_eq!(
        (cancelling.status, cancelling.json()),
        (202, json!({ "job_id": id, "status": "cancelling" }))
    );
    assert_eq!(ended(&server, &id).await["status"], "cancelled");
    let again = server
        .send(Call::new("POST", format!("/cancel/{id}")))
        .await;
    assert_eq!(
        (again.status, &again.json()["status"]),
        (200, &json!("cancelled"))
    );

    assert_eq!(
        server
            .send(Call::new("DELETE", format!("/jobs/{id}")))
            .await
            .status,
        204
    );
    assert_eq!(server.get(&format!("/jobs/{id}")).await.status, 404);
}

#[tokio::test]
async fn a_waiting_client_is_told_of_the_cancellation() {
    let server = Server::start(Part::Gated);
    let waiting = tokio::spawn({
        let address = server.address;
        async move {
            Call::post("/run", r#"{"message": "hi"}"#)
                .send(address)
                .await
        }
    });
    server.until_asked(1).await;
    let id = server.until_listed().await;
    server
        .send(Call::new("POST", format!("/jobs/{id}/cancel")))
        .await;
    let answer = waiting.await.unwrap();
    assert_eq!(
        (answer.status, &answer.json()["code"], answer.job_id()),
        (409, &json!("run_cancelled"), id)
    );
}

#[tokio::test]
async fn a_completed_job_cannot_be_cancelled() {
    let server = Server::start(Part::Echo);
    let id = server.post("/run", r#"{"message": "hi"}"#).await.job_id();
    let answer = server
        .send(Call::new("POST", format!("/jobs/{id}/cancel")))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["code"], answer.job_id()),
        (409, &json!("job_ended"), id)
    );
}

#[tokio::test]
async fn a_job_is_repeated_from_a_node() {
    let server = Server::start(Part::Echo);
    let id = server.post("/run", r#"{"message": "hi"}"#).await.job_id();
    let path = format!("/jobs/{id}/retry");
    assert_eq!(
        server.send(Call::new("POST", &path)).await.json()["code"],
        "nothing_failed"
    );
    assert_eq!(
        server.post(&path, r#"{"from": "nobody"}"#).await.json()["detail"][0]["loc"],
        json!(["body", "from"])
    );

    let again = server.post(&path, r#"{"from": "say"}"#).await;
    assert_eq!(again.status, 202);
    let job = ended(&server, &again.job_id()).await;
    assert_eq!(
        (&job["status"], &job["retried_from"]),
        (&json!("completed"), &json!(id))
    );
    assert_eq!(server.model.calls(), 2);
}

#[tokio::test]
async fn labels_of_more_than_16_kib_are_refused_before_anything_is_stored() {
    let server = Server::start(Part::Echo);
    let body = |bytes: usize| {
        // `{"label":""}` takes twelve.
        let metadata = json!({"label": "x".repeat(bytes - 12)});
        json!({"inputs": {"message": "hi"}, "metadata": metadata}).to_string()
    };
    assert_eq!(server.post("/jobs", &body(16 << 10)).await.status, 202);
    let refused = server.post("/jobs", &body((16 << 10) + 1)).await;
    let fault = &refused.json()["detail"][0];
    assert_eq!(
        (refused.status, &fault["type"], &fault["loc"]),
        (422, &json!("too_long"), &json!(["body", "metadata"]))
    );
    let listed = server.get("/jobs").await.json();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_retry_repeated_with_its_key_is_the_same_job() {
    let server = Server::start(Part::Echo);
    let first = server.post("/jobs", BODY).await.job_id();
    ended(&server, &first).await;
    let retry = |key: &str, body: &str| {
        Call::post(format!("/jobs/{first}/retry"), body).header("Idempotency-Key", key)
    };
    let from_echo = r#"{"from": "say"}"#;
    let once = server.send(retry("k", from_echo)).await;
    assert_eq!(
        (once.status, once.header("idempotency-replayed")),
        (202, None)
    );
    let again = server.send(retry("k", from_echo)).await;
    assert_eq!(again.job_id(), once.job_id());
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_ne!(
        server.send(retry("l", from_echo)).await.job_id(),
        once.job_id()
    );
    let retried = ended(&server, &once.job_id()).await;
    assert_eq!(retried["retried_from"], json!(first));
    assert_eq!(server.send(retry("", from_echo)).await.status, 422);

    let deleted = Call::new("DELETE", format!("/jobs/{}", once.job_id()));
    assert_eq!(server.send(deleted).await.status, 204);
    let gone = server.send(retry("k", from_echo)).await;
    assert_eq!(
        (gone.status, &gone.json()["code"]),
        (410, &json!("job_forgotten"))
    );
}
