//! Clients that leave: a request's future is dropped at each of its awaits in turn, and what it
//! changes is changed wholly, once, or not at all. A use case that changes something belongs in
//! here.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jobs::allotment::Wish;
use jobs::forward::Verb;
use jobs::job::{JobId, Status};
use jobs::key::{Changed, Hidden256, KeyChange, KeyRecord, KeyStore, Keys};
use jobs::memory::MemoryStore;
use jobs::spend::{Allotted, BatchNumber, Day, KeyDay, SpendStore, Spent};
use jobs::store::{Error, Filter, JobStore as _, ReplicaId};
use service::access::{Access, Grants, KeyIssuer, KeyState, ListedKeys, NewKey, SecretSource};
use service::limits::{Accounts, KeyUsage, Limits};
use service::submission::{Accepted, RunRequest, SubmitError};
use service::{RetryFrom, Settings};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

use crate::fixture::{Answer, FakeModels, Faults, FaultyStore, Fixture, HOUR, TestHost, request};

/// Much less than a tick of the worker, a heartbeat or a reload of keys: what follows from a change
/// must not wait for those.
const SOON: Duration = Duration::from_millis(100);

/// A store with an await before and after each of its verbs.
#[derive(Debug, Default)]
struct Slow(MemoryStore);

#[derive(Debug)]
struct Pauses;

#[async_trait]
impl Faults for Pauses {
    async fn before(&self, _verb: Verb) -> Result<(), Error> {
        yield_now().await;
        Ok(())
    }

    async fn after(&self, _verb: Verb) -> Result<(), Error> {
        yield_now().await;
        Ok(())
    }
}

async fn slowly<T>(verb: impl Future<Output = T>) -> T {
    yield_now().await;
    let result = verb.await;
    yield_now().await;
    result
}

#[async_trait]
impl SpendStore for Slow {
    async fn spend(&self, batch: BatchNumber, more: Vec<KeyDay>) -> Result<Vec<Spent>, Error> {
        slowly(self.0.spend(batch, more)).await
    }

    async fn allot(
        &self,
        batch: BatchNumber,
        by: ReplicaId,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        now: Timestamp,
    ) -> Result<Allotted, Error> {
        slowly(self.0.allot(batch, by, more, wishes, now)).await
    }

    async fn spent(&self, key: Option<&str>, since: Day) -> Result<Vec<KeyDay>, Error> {
        slowly(self.0.spent(key, since)).await
    }

    async fn forget_spent(&self, before: Day) -> Result<(), Error> {
        slowly(self.0.forget_spent(before)).await
    }
}

#[async_trait]
impl KeyStore for Slow {
    async fn hashing_key(&self, fresh: Hidden256) -> Result<Hidden256, Error> {
        slowly(self.0.hashing_key(fresh)).await
    }

    async fn keys(&self) -> Result<Keys, Error> {
        slowly(self.0.keys()).await
    }

    async fn add_key(&self, key: KeyRecord) -> Result<bool, Error> {
        slowly(self.0.add_key(key)).await
    }

    async fn change_key(&self, id: &str, change: KeyChange) -> Result<Changed, Error> {
        slowly(self.0.change_key(id, change)).await
    }

    async fn keys_used(&self, uses: Vec<(Arc<str>, Timestamp)>) -> Result<(), Error> {
        slowly(self.0.keys_used(uses)).await
    }
}

/// What a future came to, or nothing: it is dropped when it has been pending once more than
/// `times`.
async fn left_after<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut pending = 0;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if pending == times => Poll::Ready(None),
        Poll::Pending => {
            pending += 1;
            Poll::Pending
        }
    })
    .await
}

/// Tries `left` with 0, 1, 2 … until it is not left any more.
async fn at_each_await(left: impl AsyncFn(usize) -> bool) {
    let mut times = 0;
    while left(times).await {
        times += 1;
        assert!(times < 1_000, "it never ends");
    }
    assert!(times > 0, "there was nothing to leave");
}

/// A server of one slot, and a key that may have two runs waiting.
struct Served {
    fixture: Fixture,
    store: Arc<FaultyStore<Pauses>>,
    accounts: Arc<Accounts>,
    permits: Arc<Semaphore>,
}

impl Served {
    /// Each node's answer takes a permit.
    async fn new(max_running: usize, permits: usize) -> Self {
        let limits = Limits {
            max_queued: Some(2),
            max_running: NonZeroU32::new(3),
            ..Limits::default()
        };
        let host = Arc::new(TestHost::new());
        let accounts = Accounts::open(Arc::new(Slow::default()), host.clone(), limits);
        let accounts = Arc::new(accounts.await.unwrap());
        let store = Arc::new(FaultyStore {
            memory: Arc::default(),
            faults: Pauses,
        });
        let permits = Arc::new(Semaphore::new(permits));
        let held = permits.clone();
        let models = FakeModels::new(move |_, _| Answer::Held(held.clone(), "done"));
        let settings = Settings {
            max_running,
            ..Settings::default()
        };
        let fixture = Fixture::counting(store.clone(), host, settings, models, accounts.clone());
        Self {
            fixture,
            store,
            accounts,
            permits,
        }
    }

    fn submitting(
        &self,
        request: RunRequest,
    ) -> impl Future<Output = Result<Accepted, SubmitError>> {
        let Fixture {
            service, workflow, ..
        } = &self.fixture;
        service.submit(workflow, request)
    }

    async fn jobs(&self) -> Vec<(JobId, Status)> {
        let all = Filter::default();
        let page = self.store.memory.list(&all, None, 200);
        let jobs = page.await.unwrap().jobs;
        jobs.iter().map(|job| (job.id, job.status)).collect()
    }

    async fn usage(&self) -> KeyUsage {
        let usage = self.accounts.usage(Some("shop")).await.unwrap();
        usage.into_iter().next().expect("the key has an account")
    }

    /// Its places are all given back, and its runs are counted once.
    #[track_caller]
    fn check(usage: &KeyUsage, runs: u64, calls: u64, left: usize) {
        let shown = format!("left after {left}: {usage:?}");
        assert_eq!((usage.running, usage.waiting), (0, 0), "{shown}");
        assert_eq!(usage.today.runs, runs, "{shown}");
        assert_eq!(usage.today.model_calls, calls, "{shown}");
    }
}

fn owned() -> RunRequest {
    RunRequest {
        owner: Some("shop".into()),
        ..request()
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_is_left_gives_the_queue_place_of_its_job_back() {
    at_each_await(async |times| {
        let served = Served::new(1, 0).await;
        let running = served.submitting(request()).await.unwrap();
        let waiting = served.submitting(owned()).await.unwrap();
        let found = left_after(times, served.fixture.service.cancel(waiting.id)).await;
        tokio::time::sleep(SOON).await;
        assert!(
            served
                .jobs()
                .await
                .contains(&(waiting.id, Status::Cancelled)),
            "left after {times}"
        );
        Served::check(&served.usage().await, 1, 0, times);
        assert!(served.submitting(owned()).await.is_ok(), "{times}");
        served.fixture.service.cancel(running.id).await.unwrap();
        found.is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_is_left_stops_the_run_at_once() {
    at_each_await(async |times| {
        let served = Served::new(2, 0).await;
        let accepted = served.submitting(owned()).await.unwrap();
        served.fixture.models.next_call().await;
        let found = left_after(times, served.fixture.service.cancel(accepted.id)).await;
        tokio::time::sleep(SOON).await;
        assert_eq!(served.fixture.models.in_flight(), 0, "left after {times}");
        assert_eq!(served.jobs().await, [(accepted.id, Status::Cancelled)]);
        let usage = served.usage().await;
        assert_eq!((usage.running, usage.waiting), (0, 0), "{usage:?}");
        found.is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_client_leaves_while_it_is_accepted_happens_once() {
    for key in [None, Some("a-key")] {
        at_each_await(async |times| {
            let served = Served::new(2, Semaphore::MAX_PERMITS).await;
            let wanted = || RunRequest {
                idempotency_key: key.map(str::to_owned),
                ..owned()
            };
            let accepted = left_after(times, served.submitting(wanted())).await;
            if key.is_some() {
                let again = served.submitting(wanted()).await.unwrap();
                assert_eq!(served.fixture.ended(&again).await.status, Status::Completed);
            }
            tokio::time::sleep(SOON).await;
            let jobs = served.jobs().await;
            assert_eq!(jobs.len(), 1, "left after {times}");
            assert_eq!(jobs[0].1, Status::Completed);
            Served::check(&served.usage().await, 1, 2, times);
            accepted.is_none()
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_client_leaves_while_it_waits_happens_once() {
    for places in [1, 2] {
        at_each_await(async |times| {
            let served = Served::new(places, Semaphore::MAX_PERMITS).await;
            let Fixture {
                service, workflow, ..
            } = &served.fixture;
            let ended = left_after(times, async {
                let inline = service
                    .submit_inline(workflow, owned(), HOUR)
                    .await
                    .unwrap();
                service.wait_inline(inline, HOUR).await.unwrap()
            });
            let ended = ended.await;
            tokio::time::sleep(SOON).await;
            let jobs = served.jobs().await;
            assert_eq!(jobs.len(), 1, "left after {times}");
            assert_eq!(jobs[0].1, Status::Completed, "left after {times}");
            Served::check(&served.usage().await, 1, 2, times);
            ended.is_none()
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_left_makes_one_job_or_none() {
    at_each_await(async |times| {
        let served = Served::new(2, Semaphore::MAX_PERMITS).await;
        let first = served.submitting(owned()).await.unwrap();
        served.fixture.ended(&first).await;
        let from = RetryFrom::Node("b".to_owned());
        let again = left_after(times, served.fixture.service.retry(first.id, from)).await;
        tokio::time::sleep(SOON).await;
        let jobs = served.jobs().await;
        let retried = u64::try_from(jobs.len()).unwrap() - 1;
        assert!(retried <= 1, "left after {times}: {jobs:?}");
        assert!(jobs.iter().all(|(_, status)| *status == Status::Completed));
        assert!(retried == 1 || again.is_none());
        Served::check(&served.usage().await, 1 + retried, 2 + retried, times);
        again.is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_is_left_forgets_the_job_or_keeps_it() {
    at_each_await(async |times| {
        let served = Served::new(2, Semaphore::MAX_PERMITS).await;
        let accepted = served.submitting(owned()).await.unwrap();
        served.fixture.ended(&accepted).await;
        let deleted = left_after(times, served.fixture.service.delete(accepted.id)).await;
        tokio::time::sleep(SOON).await;
        let jobs = served.jobs().await;
        assert!(jobs.is_empty() || jobs == [(accepted.id, Status::Completed)]);
        assert!(jobs.is_empty() || deleted.is_none());
        Served::check(&served.usage().await, 1, 2, times);
        deleted.is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn usage_whose_client_leaves_during_the_commit_counts_spending_once() {
    at_each_await(async |times| {
        let served = Served::new(2, Semaphore::MAX_PERMITS).await;
        let accepted = served.submitting(owned()).await.unwrap();
        served.fixture.ended(&accepted).await;
        let usage = left_after(times, served.accounts.usage(Some("shop"))).await;
        let left = usage.is_none();
        Served::check(&served.usage().await, 1, 2, times);
        tokio::time::sleep(SOON).await;
        Served::check(&served.usage().await, 1, 2, times);
        assert_eq!(served.usage().await.days[0].model_calls, 2);
        assert_eq!(
            served.permits.available_permits(),
            Semaphore::MAX_PERMITS - 2
        );
        left
    })
    .await;
}

/// Each is another one.
#[derive(Debug, Default)]
struct Counting(AtomicU8);

impl SecretSource for Counting {
    fn secret(&self) -> [u8; 32] {
        [self.0.fetch_add(1, Ordering::SeqCst); 32]
    }
}

fn new_key(name: &str) -> NewKey {
    NewKey {
        name: name.to_owned(),
        grants: Grants::default(),
        expires_at: None,
    }
}

/// Access with one key: the key itself, and its id.
async fn with_a_key() -> (Arc<Access>, String, String) {
    let issuer = KeyIssuer {
        store: Arc::new(Slow::default()),
        host: Arc::new(TestHost::new()),
        secrets: Arc::new(Counting::default()),
    };
    let made = issuer.create(new_key("first")).await.unwrap();
    let spend = Arc::new(MemoryStore::default());
    let accounts = Accounts::open(spend, issuer.host.clone(), Limits::default());
    let accounts = Arc::new(accounts.await.unwrap());
    let access = Access::open(issuer, ListedKeys::default(), accounts);
    let access = Arc::new(access.await.unwrap().expect("there is a key"));
    let (key, id) = (made.key.reveal().to_owned(), made.view.id.to_string());
    (access, key, id)
}

#[tokio::test(start_paused = true)]
async fn a_revoke_that_is_left_shuts_the_key_out_at_once() {
    at_each_await(async |times| {
        let (access, key, id) = with_a_key().await;
        let revoked = left_after(times, access.revoke(&id)).await;
        tokio::time::sleep(SOON).await;
        assert!(access.identify(&key).is_none(), "left after {times}");
        let views = access.list().await.unwrap();
        assert_eq!(views[0].state, KeyState::Revoked, "left after {times}");
        revoked.is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_left_shuts_the_old_secret_out_at_once() {
    at_each_await(async |times| {
        let (access, key, id) = with_a_key().await;
        let rotated = left_after(times, access.rotate(&id, Duration::ZERO)).await;
        tokio::time::sleep(SOON).await;
        assert!(access.identify(&key).is_none(), "left after {times}");
        let again = access.rotate(&id, Duration::ZERO).await.unwrap();
        assert!(access.identify(again.key.reveal()).is_some(), "{times}");
        rotated.is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_maker_leaves_is_there_and_can_be_revoked() {
    at_each_await(async |times| {
        let (access, key, _) = with_a_key().await;
        let made = left_after(times, access.create(new_key("second"))).await;
        tokio::time::sleep(SOON).await;
        let names: Vec<_> = access.list().await.unwrap();
        let second = names.iter().find(|view| &*view.name == "second");
        let second = second.unwrap_or_else(|| panic!("left after {times}: {names:?}"));
        access.revoke(&second.id).await.unwrap();
        if let Some(made) = &made {
            let made = made.as_ref().unwrap();
            assert!(access.identify(made.key.reveal()).is_none());
        }
        assert!(access.identify(&key).is_some());
        made.is_none()
    })
    .await;
}
