//! What keys spend: reserved before each call, renewed each day, there again after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jobs::allotment::Wish;
use jobs::job::{Job, Status};
use jobs::memory::MemoryStore;
use jobs::spend::{Allotted, BatchNumber, Day, KeyDay, SpendStore, Spent};
use jobs::store::{Error, ReplicaId};
use serde_json::json;
use service::Settings;
use service::access::{Access, KeyIssuer, ListedKeys, SecretSource};
use service::limits::{Accounts, KeyUsage, Limit, Limits};
use service::submission::{RunRequest, SubmitError};
use tokio_util::sync::CancellationToken;

use crate::fixture::{
    Answer, FakeModels, Fixture, HOUR, SharedStore, TestHost, inputs, load, problem_code, request,
};

/// When the first day of these tests ends.
const EVENING: Duration = Duration::from_secs(16 * 60 * 60);
const SECOND: Duration = Duration::from_secs(1);

struct Counted {
    fixture: Fixture,
    accounts: Arc<Accounts>,
    spend: Arc<MemoryStore>,
    host: Arc<TestHost>,
}

impl Counted {
    async fn new(
        limits: Limits,
        answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (spend, host) = (Arc::new(MemoryStore::default()), Arc::new(TestHost::new()));
        let accounts = accounts(spend.clone(), &host, limits).await;
        let (store, models) = (Arc::new(MemoryStore::default()), FakeModels::new(answer));
        let settings = Settings::default();
        let fixture = Fixture::counting(store, host.clone(), settings, models, accounts.clone());
        Self {
            fixture,
            accounts,
            spend,
            host,
        }
    }

    async fn run(&self) -> Result<Job, SubmitError> {
        let Fixture {
            service, workflow, ..
        } = &self.fixture;
        let accepted = service.submit(workflow, owned()).await?;
        Ok(self.fixture.ended(&accepted).await)
    }

    async fn usage(&self) -> KeyUsage {
        usage(&self.accounts).await
    }
}

async fn accounts(
    store: Arc<dyn SpendStore>,
    host: &Arc<TestHost>,
    limits: Limits,
) -> Arc<Accounts> {
    Arc::new(Accounts::open(store, host.clone(), limits).await.unwrap())
}

async fn usage(accounts: &Arc<Accounts>) -> KeyUsage {
    accounts.usage(Some("shop")).await.unwrap().remove(0)
}

fn owned() -> RunRequest {
    RunRequest {
        owner: Some("shop".into()),
        ..request()
    }
}

fn dollars(a_day: f64) -> Limits {
    Limits {
        cost_per_day_usd: Some(a_day),
        ..Limits::default()
    }
}

fn limit_of<T: std::fmt::Debug>(refused: Result<T, SubmitError>) -> (Limit, Duration) {
    match refused {
        Err(SubmitError::Limited(exceeded)) => (exceeded.limit, exceeded.retry_after),
        other => panic!("{other:?}"),
    }
}

/// A run of the chain asks twice, for half a dollar each.
#[tokio::test(start_paused = true)]
async fn a_quota_renews_when_the_day_ends() {
    let counted = Counted::new(dollars(1.0), |_, _| Answer::Text("done")).await;
    assert_eq!(counted.run().await.unwrap().status, Status::Completed);
    assert_eq!(limit_of(counted.run().await), (Limit::Cost, EVENING));
    tokio::time::advance(EVENING.saturating_sub(SECOND)).await;
    assert_eq!(
        limit_of(counted.run().await),
        (Limit::Cost, Duration::from_secs(1))
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(counted.run().await.unwrap().status, Status::Completed);
    let usage = counted.usage().await;
    let days: Vec<_> = usage.days.iter().map(|day| (&*day.day, day.runs)).collect();
    assert_eq!(days, [("2027-01-16", 1), ("2027-01-15", 1)]);
    // A clock that is set back a day does not give anything back.
    counted.host.set_clock(-24 * 60 * 60);
    assert_eq!(limit_of(counted.run().await).0, Limit::Cost);
}

#[tokio::test(start_paused = true)]
async fn a_run_fails_at_the_call_that_does_not_fit() {
    let counted = Counted::new(dollars(0.75), |_, _| Answer::Text("done")).await;
    let job = counted.run().await.unwrap();
    assert_eq!(
        (job.status, &*problem_code(&job)),
        (Status::Failed, "quota_exhausted")
    );
    let error = job.error.as_deref().unwrap();
    let says = "Node `b`: its API key has used 0.5 of 0.75 US dollars per day, and this call may take 0.5; \
                the limit resets at 2027-01-16T00:00:00Z";
    assert_eq!(error, says);
    assert_eq!(counted.fixture.models.all_calls(), 1);
}

/// 16 items at once, for half a dollar each.
#[tokio::test(start_paused = true)]
async fn items_of_a_fan_out_share_what_there_is() {
    let workflow = "schema_version: \"1.0\"\nflow: {name: items}\nstate:\n  fields:\n    topic: {type: list, required: true}\n    \
        seen: {type: list, default: []}\n    a: {type: str, default: \"\"}\nnodes:\n  \
        - {id: x, prompt: x, output_schema: {type: str}, outputs: [a]}\n  \
        - {id: y, prompt: \"{_parallel_item}\", output_schema: {type: str}, outputs: [a]}\nedges:\n  \
        - {from: START, to: x}\n  \
        - {from: x, parallel: {items_field: topic, target_node: y, collect_field: seen}}\n  - {from: y, to: END}\n";
    let counted = Counted::new(dollars(2.5), |_, _| {
        Answer::After(Duration::from_secs(1), "done")
    })
    .await;
    let service = &counted.fixture.service;
    let workflow = service.catalog().put(load(workflow));
    let topic: Vec<_> = (0..16).collect();
    let request = RunRequest {
        inputs: inputs(json!({ "topic": topic })),
        ..owned()
    };
    let accepted = service.submit(&workflow, request).await.unwrap();
    let job = counted.fixture.ended(&accepted).await;
    assert_eq!(problem_code(&job), "quota_exhausted");
    assert_eq!(counted.fixture.models.all_calls(), 5);
    assert_eq!(counted.usage().await.left.cost_usd, Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn only_attempts_that_were_answered_are_paid() {
    let counted = Counted::new(dollars(9.0), |node, call| match (node, call) {
        ("a", 1) => Answer::Unreachable,
        _ => Answer::Text("done"),
    })
    .await;
    assert_eq!(counted.run().await.unwrap().status, Status::Completed);
    assert_eq!(counted.fixture.models.all_calls(), 3);
    let usage = counted.usage().await;
    assert_eq!(
        (usage.today.model_calls, usage.left.cost_usd),
        (2, Some(8.0))
    );
}

/// Or to break calls off would make them free.
#[tokio::test(start_paused = true)]
async fn a_call_that_was_broken_off_counts_its_prompt() {
    let counted = Counted::new(dollars(9.0), |_, _| Answer::Never).await;
    let service = &counted.fixture.service;
    let accepted = service
        .submit(&counted.fixture.workflow, owned())
        .await
        .unwrap();
    counted.fixture.models.next_call().await;
    assert_eq!(
        counted.usage().await.left.cost_usd,
        Some(8.5),
        "it is set aside"
    );
    service.cancel(accepted.id).await.unwrap();
    assert_eq!(
        counted.fixture.ended(&accepted).await.status,
        Status::Cancelled
    );
    let usage = counted.usage().await;
    assert_eq!(
        (usage.left.cost_usd, usage.today.output_tokens),
        (Some(8.875), 0)
    );
    assert!(usage.today.input_tokens > 16, "{usage:?}");
    assert_eq!(usage.running, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_is_there_after_a_restart() {
    let counted = Counted::new(dollars(1.0), |_, _| Answer::Text("done")).await;
    counted.run().await.unwrap();
    counted.usage().await;
    let again = accounts(counted.spend.clone(), &counted.host, dollars(1.0)).await;
    let store = Arc::new(MemoryStore::default());
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let settings = Settings::default();
    let fixture = Fixture::counting(store, counted.host.clone(), settings, models, again);
    let refused = fixture.service.submit(&fixture.workflow, owned()).await;
    assert_eq!(limit_of(refused).0, Limit::Cost);
}

#[derive(Debug)]
struct Constant;

impl SecretSource for Constant {
    fn secret(&self) -> [u8; 32] {
        [7; 32]
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_is_written_down_every_second_and_at_the_end() {
    let counted = Counted::new(Limits::default(), |_, _| Answer::Text("done")).await;
    let issuer = KeyIssuer {
        store: Arc::new(MemoryStore::default()),
        host: counted.host.clone(),
        secrets: Arc::new(Constant),
    };
    let listed: ListedKeys = format!("fm_shop_{}", "a1".repeat(16)).parse().unwrap();
    let access = Access::open(issuer, listed, counted.accounts.clone()).await;
    let access = access.unwrap().expect("there is a key");
    let stop = CancellationToken::new();
    let keeping = tokio::spawn({
        let stop = stop.clone();
        async move { access.keep(stop).await }
    });
    let written = async || {
        let spent = counted.spend.spent(Some("shop"), Day(0)).await.unwrap();
        spent.iter().map(|day| day.spent.runs).sum::<u64>()
    };
    counted.run().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(written().await, 1);
    counted.run().await.unwrap();
    assert_eq!(written().await, 1);
    stop.cancel();
    keeping.await.unwrap();
    assert_eq!(written().await, 2);
}

/// Sums in memory that may fail to take more.
#[derive(Debug, Default)]
struct Failing {
    memory: MemoryStore,
    fails: AtomicBool,
}

#[async_trait]
impl SpendStore for Failing {
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("it fails".to_owned()));
        }
        self.memory.spend(batch, more).await
    }

    async fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        now: Timestamp,
    ) -> Result<Allotted, Error> {
        self.memory.allot(batch, by, more, wishes, now).await
    }

    async fn spent(&self, key: Option<&str>, since: Day) -> Result<Vec<KeyDay>, Error> {
        self.memory.spent(key, since).await
    }

    async fn forget_spent(&self, before: Day) -> Result<(), Error> {
        self.memory.forget_spent(before).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_take_is_kept_over_midnight() {
    let (spend, host) = (Arc::new(Failing::default()), Arc::new(TestHost::new()));
    let accounts = accounts(spend.clone(), &host, dollars(1.0)).await;
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let store = Arc::new(MemoryStore::default());
    let settings = Settings::default();
    let fixture = Fixture::counting(store, host.clone(), settings, models, accounts.clone());
    let submit = async || fixture.service.submit(&fixture.workflow, owned()).await;
    fixture.ended(&submit().await.unwrap()).await;
    spend.fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(accounts.usage(None).await.is_err());
        assert_eq!(limit_of(submit().await).0, Limit::Cost);
    }
    tokio::time::advance(EVENING).await;
    assert!(accounts.usage(None).await.is_err());
    fixture.ended(&submit().await.unwrap()).await;
    spend.fails.store(false, Ordering::SeqCst);
    let usage = usage(&accounts).await;
    let days: Vec<_> = usage
        .days
        .iter()
        .map(|day| (&*day.day, day.runs, day.model_calls))
        .collect();
    assert_eq!(days, [("2027-01-16", 1, 2), ("2027-01-15", 1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_an_earlier_process_left_have_their_places_again() {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let limits = Limits {
        max_running: std::num::NonZeroU32::new(3),
        ..Limits::default()
    };
    let start = async |answer: fn(&str, usize) -> Answer| {
        let accounts = accounts(Arc::new(MemoryStore::default()), &host, limits).await;
        let settings = Settings {
            max_running: 1,
            exclusive_store: true,
            ..Settings::default()
        };
        let models = FakeModels::new(answer);
        let fixture = Fixture::counting(
            store.clone(),
            host.clone(),
            settings,
            models,
            accounts.clone(),
        );
        (fixture, accounts)
    };
    let (first, _) = start(|_, _| Answer::Never).await;
    let mut accepted = Vec::new();
    for _ in 0..3 {
        accepted.push(
            first
                .service
                .submit(&first.workflow, owned())
                .await
                .unwrap(),
        );
    }
    first.service.drain(Duration::ZERO).await;

    let (second, accounts) = start(|_, _| Answer::After(Duration::from_secs(60), "done")).await;
    second.models.next_call().await;
    let standing = usage(&accounts).await;
    assert_eq!((standing.running, standing.waiting), (1, 2));
    let submit = async || second.service.submit(&second.workflow, owned()).await;
    assert_eq!(limit_of(submit().await).0, Limit::Running);
    for handle in &accepted {
        let job = second
            .service
            .wait_for(handle.id, HOUR)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(job.status, Status::Completed);
    }
    let standing = usage(&accounts).await;
    assert_eq!((standing.running, standing.waiting), (0, 0));
    assert!(submit().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_has_no_key_has_no_account() {
    let counted = Counted::new(dollars(0.1), |_, _| Answer::Text("done")).await;
    assert_eq!(counted.fixture.run().await.status, Status::Completed);
    assert!(counted.accounts.usage(None).await.unwrap().is_empty());
}

/// The process that asked is gone without a word, and its calls were paid for.
#[tokio::test(start_paused = true)]
async fn a_call_in_flight_at_a_crash_is_paid_when_its_run_goes_on() {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let start = async |answer: fn(&str, usize) -> Answer| {
        let spend = Arc::new(MemoryStore::default());
        let accounts = accounts(spend, &host, dollars(9.0)).await;
        let settings = Settings {
            exclusive_store: true,
            ..Settings::default()
        };
        let (store, host) = (store.clone(), host.clone());
        let models = FakeModels::new(answer);
        let fixture = Fixture::counting(store, host, settings, models, accounts.clone());
        (fixture, accounts)
    };
    let (first, _) = start(|_, _| Answer::Never).await;
    let accepted = first
        .service
        .submit(&first.workflow, owned())
        .await
        .unwrap();
    first.models.next_call().await;
    // It alone uses the store: whoever held a lease is dead.
    let (second, accounts) = start(|_, _| Answer::Text("done")).await;
    let job = second.service.wait_for(accepted.id, HOUR).await;
    let job = job.unwrap().unwrap();
    assert_eq!((job.status, job.attempts), (Status::Completed, 2));
    let spent = usage(&accounts).await.today;
    assert_eq!((spent.model_calls, spent.output_tokens), (3, 4_096 + 5 + 5));
    assert!(
        (spent.cost_usd - 1.5).abs() < 1e-9,
        "half a dollar for each: {spent:?}"
    );
    let usage: serde_json::Value = job.usage.unwrap().read().unwrap();
    assert_eq!(
        (&usage["llm_calls"], &usage["output_tokens"]),
        (&json!(3), &json!(4_096 + 5 + 5))
    );
    assert_eq!(usage["estimated"], true);
    assert_eq!(usage["nodes"]["b"].get("estimated"), None);
}
