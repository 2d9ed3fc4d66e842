//! Limits of a key that holds across all services on one store, whichever of them is asked.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jobs::job::{Job, Status};
use jobs::memory::MemoryStore;
use jobs::store::{CancelRequested, JobStore};
use service::Settings;
use service::limits::{Accounts, Limit, Limits};
use service::submission::{Accepted, RunRequest, SubmitError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::fixture::{Answer, FakeModels, Fixture, HOUR, Machine, SeveralStore, TestHost, request};

/// Services on one store, and models that they share.
struct Replicas {
    store: Arc<SeveralStore>,
    all: Vec<Fixture>,
}

impl Replicas {
    async fn new(number: usize, limits: Limits, models: &Arc<FakeModels>) -> Self {
        let (store, host) = (SeveralStore::new(), Arc::new(TestHost::new()));
        let mut all = Vec::new();
        for _ in 0..number {
            let spend = Arc::new(MemoryStore::default());
            let machine = Machine::new(&host, 0);
            let accounts = Accounts::open(spend, machine.clone(), limits).await;
            let settings = Settings {
                max_running: 100,
                ..Settings::default()
            };
            let accounts = Arc::new(accounts.unwrap());
            let fixture =
                Fixture::counting(store.clone(), machine, settings, models.clone(), accounts);
            all.push(fixture);
        }
        let replicas = Self { store, all };
        replicas.registered().await;
        replicas
    }

    /// Until each of them may claim jobs.
    async fn registered(&self) {
        while self.store.replicas().await.unwrap().len() < self.all.len() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // And has looked for jobs that wait.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    async fn submit(&self, at: usize) -> Result<Accepted, SubmitError> {
        let Fixture {
            service, workflow, ..
        } = &self.all[at];
        service.submit(workflow, owned()).await
    }

    async fn ended(&self, accepted: &Accepted) -> Job {
        let job = self.all[0].service.wait_for(accepted.id, HOUR).await;
        job.unwrap().unwrap()
    }

    /// Unfinished jobs of the key: those that run, and those that wait.
    async fn standing(&self) -> (usize, usize) {
        let counted = self.store.unfinished(Some("shop")).await.unwrap();
        let owned = counted.get("shop").copied().unwrap_or_default();
        (owned.running, owned.queued)
    }
}

fn owned() -> RunRequest {
    RunRequest {
        owner: Some("shop".into()),
        ..request()
    }
}

fn running(most: u32) -> Limits {
    Limits {
        max_running: NonZeroU32::new(most),
        ..Limits::default()
    }
}

fn limit_of<T: std::fmt::Debug>(refused: Result<T, SubmitError>) -> Limit {
    match refused {
        Err(SubmitError::Limited(exceeded)) => exceeded.limit,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn runs_in_flight_are_counted_across_replicas() {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let models = FakeModels::new(move |_, _| Answer::Held(held.clone(), "done"));
    let replicas = Replicas::new(3, running(2), &models).await;
    let first = replicas.submit(0).await.unwrap();
    let second = replicas.submit(1).await.unwrap();
    for at in 0..3 {
        assert_eq!(limit_of(replicas.submit(at).await), Limit::Running);
        let inline = replicas.all[at].service.clone();
        let inline = inline.submit_inline(&replicas.all[at].workflow, owned(), HOUR);
        assert_eq!(limit_of(inline.await.map(|_| ())), Limit::Running);
    }
    permits.add_permits(4);
    for accepted in [&first, &second] {
        assert_eq!(replicas.ended(accepted).await.status, Status::Completed);
    }
    assert_eq!(
        models.all_calls(),
        4,
        "none was asked for a run that was refused"
    );
    permits.add_permits(100);
    for at in 0..3 {
        let accepted = replicas.submit(at).await.unwrap();
        assert_eq!(replicas.ended(&accepted).await.status, Status::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_at_another_replica_leaves_no_place_taken() {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let models = FakeModels::new(move |_, _| Answer::Held(held.clone(), "done"));
    let replicas = Replicas::new(2, running(1), &models).await;
    for round in 0..20 {
        let (here, there) = (round % 2, (round + 1) % 2);
        let accepted = replicas.submit(here).await.unwrap();
        assert_eq!(limit_of(replicas.submit(there).await), Limit::Running);
        if round % 3 == 0 {
            let cancelled = replicas.all[there].service.cancel(accepted.id).await;
            assert_eq!(cancelled.unwrap(), CancelRequested::Cancelling);
        } else {
            permits.add_permits(2);
        }
        replicas.ended(&accepted).await;
        assert_eq!(replicas.standing().await, (0, 0));
    }
}

/// (A report: permits leaked in an outage, and keys were blocked until a restart.)
#[tokio::test(start_paused = true)]
async fn whatever_is_lost_no_place_in_flight_is() {
    let models = FakeModels::new(|_, nth| match nth % 5 {
        0 => Answer::Refused,
        _ => Answer::After(Duration::from_millis(20), "done"),
    });
    let mut replicas = Replicas::new(3, running(4), &models).await;
    replicas.store.lose_one_of(7);
    for round in 0..300 {
        let _ = replicas.submit(round % replicas.all.len()).await;
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        let (running, queued) = loop {
            if let Ok(counted) = replicas.store.unfinished(Some("shop")).await {
                let owned = counted.get("shop").copied().unwrap_or_default();
                break (owned.running, owned.queued);
            }
        };
        assert!(running + queued <= 4, "{running} and {queued}");
        if round == 150 {
            // One leaves with what it has.
            let gone = replicas.all.pop().unwrap();
            gone.service.drain(Duration::ZERO).await;
        }
    }
    replicas.store.lose_one_of(0);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(replicas.standing().await, (0, 0));
    let mut submissions = JoinSet::new();
    for _ in 0..4 {
        let (service, workflow) = (replicas.all[0].service.clone(), &replicas.all[0].workflow);
        let workflow = workflow.clone();
        submissions.spawn(async move { service.submit(&workflow, owned()).await.is_ok() });
    }
    assert_eq!(submissions.join_all().await, [true; 4]);
}
