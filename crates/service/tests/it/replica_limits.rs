//! Limits of a key that holds across all services on one store, whichever of them is asked.

mod in_flight;
mod on_postgres;
mod requests;
mod spending;

use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use jobs::job::Job;
use jobs::memory::MemoryStore;
use jobs::signals::{NoSignals, Signals};
use jobs::store::JobStore;
use service::Settings;
use service::access::{Access, KeyIssuer, ListedKeys, SecretSource};
use service::limits::{Accounts, KeyUsage, Limit, Limits};
use service::submission::{Accepted, RunRequest, SubmitError};
use tokio_util::sync::CancellationToken;

use crate::fixture::{FakeModels, Fixture, HOUR, Machine, SeveralStore, TestHost, request};

/// Services on one store, and models that they share.
struct Replicas {
    store: Arc<SeveralStore>,
    all: Vec<Replica>,
}

struct Replica {
    fixture: Fixture,
    access: Arc<Access>,
}

#[derive(Debug)]
struct Constant;

impl SecretSource for Constant {
    fn secret(&self) -> [u8; 32] {
        [7; 32]
    }
}

impl Replicas {
    /// As many as there are clocks, each wrong by so many seconds. The store in memory judges leases by
    /// the clocks of its callers, so those of the jobs are right.
    async fn new(clocks: &[i64], limits: Limits, models: &Arc<FakeModels>) -> Self {
        Self::signalling(clocks, limits, models, || Arc::new(NoSignals)).await
    }

    /// The same with signals, which are made for each.
    async fn signalling(
        clocks: &[i64],
        limits: Limits,
        models: &Arc<FakeModels>,
        signals: impl Fn() -> Arc<dyn Signals>,
    ) -> Self {
        let host = Arc::new(TestHost::new());
        let store = SeveralStore::new(&host);
        let mut all = Vec::new();
        for wrong_by in clocks {
            let machines = [Machine::new(&host, *wrong_by), Machine::new(&host, 0)];
            all.push(Replica::new(&store, machines, limits, models, signals()).await);
        }
        let replicas = Self { store, all };
        while replicas.store.replicas().await.unwrap().len() < clocks.len() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // And each has looked for jobs that wait.
        tokio::time::sleep(Duration::from_secs(2)).await;
        replicas
    }

    async fn submit(&self, at: usize) -> Result<Accepted, SubmitError> {
        let Fixture {
            service, workflow, ..
        } = &self.all[at].fixture;
        service.submit(workflow, owned()).await
    }

    async fn ended(&self, accepted: &Accepted) -> Job {
        let service = &self.all[0].fixture.service;
        let job = service.wait_for(accepted.id, HOUR).await;
        job.unwrap().unwrap()
    }

    async fn usage(&self, at: usize) -> KeyUsage {
        let Replica { fixture, access } = &self.all[at];
        let usage = fixture.service.usage(access, Some("shop")).await;
        usage.unwrap().remove(0)
    }
}

impl Replica {
    async fn new(
        store: &Arc<SeveralStore>,
        [host, host_of_jobs]: [Arc<Machine>; 2],
        limits: Limits,
        models: &Arc<FakeModels>,
        signals: Arc<dyn Signals>,
    ) -> Self {
        let host: Arc<dyn Host> = host;
        let accounts = Accounts::open_shared(store.clone(), host.clone(), limits).await;
        let accounts = Arc::new(accounts.unwrap());
        let issuer = KeyIssuer {
            store: Arc::new(MemoryStore::default()),
            host: host.clone(),
            secrets: Arc::new(Constant),
        };
        let listed: ListedKeys = secret().parse().unwrap();
        let access = Access::open(issuer, listed, accounts.clone()).await;
        let access = Arc::new(access.unwrap().expect("there is a key"));
        let settings = Settings {
            max_running: 100,
            ..Settings::default()
        };
        let models = models.clone();
        let store = store.clone();
        let fixture = Fixture::counting_and_signalling(
            store,
            signals,
            host_of_jobs,
            settings,
            models,
            accounts,
        );
        let keeping = access.clone();
        tokio::spawn(async move { keeping.keep(CancellationToken::new()).await });
        Self { fixture, access }
    }
}

/// The secret of the key.
fn secret() -> String {
    format!("fm_shop_{}", "a1".repeat(16))
}

fn owned() -> RunRequest {
    RunRequest {
        owner: Some("shop".into()),
        ..request()
    }
}

fn limit_of<T: std::fmt::Debug>(refused: Result<T, SubmitError>) -> Limit {
    match refused {
        Err(SubmitError::Limited(exceeded)) => exceeded.limit,
        other => panic!("{other:?}"),
    }
}
