//! Limits on a PostgreSQL server, where the replicas really run at the same time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use jobs::job::Status;
use jobs::memory::MemoryStore;
use jobs::postgres::{Options, PostgresStore};
use jobs::spend::{Day, SpendStore};
use jobs::store::{Error, JobStore};
use service::access::{Access, KeyIssuer};
use service::catalog::LoadedWorkflow;
use service::limits::{Accounts, Limits};
use service::{Service, Settings};
use testing::postgres::Database;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Constant, owned, secret};
use crate::fixture::{Answer, FakeModels, Fixture, HOUR, TestHost};

async fn open(database: &Database<'_>) -> Arc<PostgresStore> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let options = Options::new(database.url().parse().unwrap(), tls, 1);
    Arc::new(PostgresStore::open(&options).await.unwrap())
}

/// A replica with connections of its own.
async fn replica(
    database: &Database<'_>,
    host: &Arc<TestHost>,
    limits: Limits,
    models: &Arc<FakeModels>,
) -> Fixture {
    let store = open(database).await;
    let host: Arc<dyn Host> = host.clone();
    let accounts = Accounts::open_shared(store.clone(), host.clone(), limits).await;
    let accounts = Arc::new(accounts.unwrap());
    let issuer = KeyIssuer {
        store: Arc::new(MemoryStore::default()),
        host: host.clone(),
        secrets: Arc::new(Constant),
    };
    let access = Access::open(issuer, secret().parse().unwrap(), accounts.clone()).await;
    let access = access.unwrap().expect("there is a key");
    tokio::spawn(async move { access.keep(CancellationToken::new()).await });
    Fixture::counting(store, host, Settings::default(), models.clone(), accounts)
}

async fn four(
    database: &Database<'_>,
    limits: Limits,
    models: &Arc<FakeModels>,
) -> (Arc<PostgresStore>, Vec<Fixture>) {
    let (store, host) = (open(database).await, Arc::new(TestHost::new()));
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(replica(database, &host, limits, models).await);
    }
    while store.replicas().await.unwrap().len() < replicas.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (store, replicas)
}

async fn completes(service: Service, workflow: Arc<LoadedWorkflow>) -> bool {
    let Ok(accepted) = service.submit(&workflow, owned()).await else {
        return false;
    };
    let job = service.wait_for(accepted.id, HOUR).await;
    job.unwrap().unwrap().status == Status::Completed
}

async fn run_at_all(replicas: &[Fixture], runs: usize) -> usize {
    let mut running = JoinSet::new();
    for fixture in replicas {
        for _ in 0..runs {
            running.spawn(completes(fixture.service.clone(), fixture.workflow.clone()));
        }
    }
    let completed = running.join_all().await;
    completed.into_iter().filter(|completed| *completed).count()
}

/// (Reports: counters that each process keeps for itself, or adds up now and then, let through
/// several times the limit.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_replicas_of_64_runs_each_spend_a_limit_to_the_last_call_and_no_more() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let models = FakeModels::new(|_, nth| {
        Answer::After(Duration::from_millis(5 + (nth as u64 * 7) % 90), "done")
    });
    // Half a dollar a call.
    let limits = Limits {
        cost_per_day_usd: Some(50.0),
        ..Limits::default()
    };
    let (store, replicas) = four(&database, limits, &models).await;
    run_at_all(&replicas, 64).await;
    assert_eq!(models.all_calls(), 100);
    for replica in &replicas {
        replica.service.drain(Duration::from_secs(5)).await;
    }
    let sums = store.spent(Some("shop"), Day(0)).await.unwrap();
    // Midnight may be between.
    let cost: u64 = sums.iter().map(|sum| sum.spent.cost_nano_usd).sum();
    assert_eq!(cost, 50_000_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_replicas_have_no_more_runs_in_flight_than_their_key_may() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let models = FakeModels::new(|_, _| Answer::After(Duration::from_millis(20), "done"));
    let limits = Limits {
        max_running: NonZeroU32::new(3),
        ..Limits::default()
    };
    let (store, replicas) = four(&database, limits, &models).await;
    let watching = tokio::spawn({
        let store = store.clone();
        async move {
            let mut most = 0;
            for _ in 0..100 {
                let unfinished = store.unfinished(Some("shop")).await?;
                let jobs = unfinished.get("shop").copied().unwrap_or_default();
                most = most.max(jobs.running + jobs.queued);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, Error>(most)
        }
    });
    for _ in 0..8 {
        let completed = run_at_all(&replicas, 8).await;
        assert!(completed >= 3, "{completed}");
    }
    let most = watching.await.unwrap().unwrap();
    assert!((1..=3).contains(&most), "{most}");
    assert!(store.unfinished(None).await.unwrap().is_empty());
}
