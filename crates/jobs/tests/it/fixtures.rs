//! Jobs, replicas and times for tests. Ids of jobs are numbers, so that their order is plain to see.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jobs::job::{Definition, End, Ending, Idempotency, JobId, NewJob, Workload};
use jobs::json::Json;
use jobs::store::{
    Claimed, JobStore, Lease, Renewal, Replica, ReplicaId, StoredEvent, SubmitOptions, Submitted,
};
use jobs::webhook::{Hidden, Target, Webhook};
use serde_json::json;

pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// Of the jobs and of the replicas.
pub(crate) const LEVEL: u32 = 1;

/// That many seconds after the tests' day began.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_secs(seconds)
}

pub(crate) fn id(number: u128) -> JobId {
    JobId(uuid::Uuid::from_u128(number))
}

/// The replica of that name; the same each time.
pub(crate) fn replica(name: &str) -> Replica {
    let mut id = [0; 16];
    id[..name.len()].copy_from_slice(name.as_bytes());
    Replica {
        id: ReplicaId(uuid::Uuid::from_bytes(id)),
        name: name.into(),
        version: "1".into(),
        level: LEVEL,
        lease_for: LEASE,
    }
}

/// Registers the replica of that name.
pub(crate) async fn register(store: &dyn JobStore, name: &str, second: i64) -> ReplicaId {
    let replica = replica(name);
    store.register(&replica, at(second)).await.unwrap();
    replica.id
}

/// Registers a replica that no other part of the test knows of.
pub(crate) async fn stranger(store: &dyn JobStore, now: Timestamp) -> ReplicaId {
    let replica = Replica {
        id: ReplicaId(uuid::Uuid::from_u128(fastrand::u128(..))),
        ..replica("stranger")
    };
    store.register(&replica, now).await.unwrap();
    replica.id
}

/// Claims jobs for a replica that has just registered: whoever held a job longer than a lease lasts
/// without a beat loses it to this claim.
pub(crate) async fn claim(store: &dyn JobStore, limit: usize, second: i64) -> Vec<Claimed> {
    let by = stranger(store, at(second)).await;
    store.claim(by, limit, at(second)).await.unwrap()
}

/// A beat of a replica that names those leases.
pub(crate) fn naming(leases: &[Lease]) -> Renewal<'_> {
    Renewal {
        lease_for: LEASE,
        is_draining: false,
        leases,
    }
}

pub(crate) fn definition(hash: &str) -> Arc<Definition> {
    Arc::new(Definition {
        hash: hash.into(),
        name: "w.yaml".into(),
        text: format!("text of {hash}").into(),
    })
}

/// A job of workflow `w`, accepted as many seconds into the day as its number says.
pub(crate) fn new_job(number: u32) -> NewJob {
    NewJob {
        id: id(number.into()),
        workflow: "w".into(),
        definition: definition("h"),
        workload: Workload {
            inputs: Json::of(&json!({"number": number})),
            options: None,
            progress: None,
        },
        metadata: None,
        created_at: at(number.into()),
        deadline: None,
        owner: None,
        retried_from: None,
        idempotency: None,
        webhook: None,
        level: LEVEL,
    }
}

/// The same with a webhook to that host.
pub(crate) fn hooked(number: u32, host: &str) -> NewJob {
    NewJob {
        webhook: Some(webhook(host)),
        ..new_job(number)
    }
}

pub(crate) fn webhook(host: &str) -> Webhook {
    Webhook {
        shown: format!("https://{host}/").into(),
        host: host.into(),
        target: Some(Target {
            url: Hidden::from(format!("https://{host}/?key=k")),
            secret: Some(Hidden::from("whsec_k")),
        }),
    }
}

/// The same with an idempotency key.
pub(crate) fn keyed(number: u32, scope: &str, key: &str, fingerprint: &str) -> NewJob {
    let idempotency = Idempotency {
        scope: scope.into(),
        key: key.into(),
        fingerprint: fingerprint.into(),
        former_fingerprint: None,
    };
    NewJob {
        idempotency: Some(idempotency),
        ..new_job(number)
    }
}

pub(crate) fn claiming(by: ReplicaId) -> SubmitOptions {
    SubmitOptions {
        claim: Some(by),
        ..SubmitOptions::default()
    }
}

/// Submits a job that waits.
pub(crate) async fn submit(store: &dyn JobStore, job: NewJob) -> JobId {
    let id = job.id;
    match store.submit(job, SubmitOptions::default()).await.unwrap() {
        Submitted::New(None) => id,
        other => panic!("{other:?}"),
    }
}

/// Submits a job and claims it at once, for a replica that has just registered.
pub(crate) async fn start(store: &dyn JobStore, job: NewJob) -> Claimed {
    let by = stranger(store, job.created_at).await;
    start_as(store, by, job).await
}

/// Submits a job and claims it at once.
pub(crate) async fn start_as(store: &dyn JobStore, by: ReplicaId, job: NewJob) -> Claimed {
    match store.submit(job, claiming(by)).await.unwrap() {
        Submitted::New(Some(claimed)) => *claimed,
        other => panic!("{other:?}"),
    }
}

/// Submits a job that ends at that second.
pub(crate) async fn run(store: &dyn JobStore, job: NewJob, second: i64) -> JobId {
    let claimed = start(store, job).await;
    store
        .finish(&claimed.lease, completed(second), Vec::new())
        .await
        .unwrap()
        .id
}

pub(crate) fn ending(end: End, second: i64) -> Ending {
    Ending {
        end,
        outputs: None,
        error: None,
        problem: None,
        usage: Some(Json::of(&json!({"llm_calls": 1}))),
        execution_time_ms: 12,
        at: at(second),
    }
}

pub(crate) fn completed(second: i64) -> Ending {
    Ending {
        outputs: Some(Json::of(&json!({"x": 1}))),
        ..ending(End::Completed, second)
    }
}

pub(crate) fn event(id: u64) -> StoredEvent {
    StoredEvent {
        id,
        kind: Cow::Borrowed("node_started"),
        data: Json::of(&json!({"id": id})),
    }
}

pub(crate) fn progress(step: u32) -> Json {
    Json::of(&json!({"step": step}))
}
