//! A run that somebody waits for is stored when it has to be, and once if it ends before.

use std::sync::Arc;
use std::time::Duration;

use jobs::job::Status;
use jobs::store::Filter;
use service::catalog::LoadedWorkflow;
use service::inline_run::InlineRun;
use service::submission::{RunRequest, SubmitError};
use service::{Drained, Settings};
use tokio::task::JoinHandle;

use crate::fixture::{Answer, Fixture, HOUR, SharedStore, chain, kinds, output, request, with_key};

const MOMENT: Duration = Duration::from_millis(10);

struct Held {
    store: Arc<SharedStore>,
    fixture: Fixture,
    /// Of one node.
    short: Arc<LoadedWorkflow>,
}

impl Held {
    /// Once the service has found that no job waits.
    async fn new(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let store = Arc::new(SharedStore::default());
        let fixture = Fixture::with(store.clone(), Settings::default(), answer);
        let short = fixture.service.catalog().put(chain(&["a"]));
        tokio::time::sleep(Duration::from_secs(1)).await;
        Self {
            store,
            fixture,
            short,
        }
    }

    fn submit_inline(
        &self,
        request: RunRequest,
        patience: Duration,
    ) -> JoinHandle<Result<InlineRun, SubmitError>> {
        let (service, workflow) = (self.fixture.service.clone(), self.short.clone());
        tokio::spawn(async move { service.submit_inline(&workflow, request, patience).await })
    }

    async fn stored(&self) -> Vec<Status> {
        let page = self.fixture.service.list(&Filter::default(), None, 9).await;
        page.unwrap().jobs.iter().map(|job| job.status).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_at_once_is_stored_once() {
    let held = Held::new(|_, _| Answer::After(MOMENT, "done")).await;
    let inline = held.submit_inline(request(), HOUR).await.unwrap().unwrap();
    let id = inline.accepted.id;
    assert_eq!(held.store.writes(), (1, 0), "with its end");
    let service = &held.fixture.service;
    let told = service.wait_inline(inline, HOUR).await;
    let job = service.get(id).await.unwrap();
    assert_eq!(told, job);
    let job = job.expect("it is stored");
    assert_eq!((job.status, job.attempts), (Status::Completed, 1));
    assert_eq!(output(&job, "a"), "done");
    let events = held.fixture.all_events(id, 0).await;
    assert_eq!(
        kinds(&events),
        [
            "run_started",
            "node_started",
            "node_completed",
            "run_completed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_longer_is_stored_while_it_runs() {
    let held = Held::new(|_, _| Answer::After(Duration::from_secs(30), "done")).await;
    let inline = held.submit_inline(request(), HOUR).await.unwrap().unwrap();
    assert_eq!(held.stored().await, [Status::Running]);
    let service = &held.fixture.service;
    let job = service.wait_inline(inline, HOUR).await;
    assert_eq!(job.expect("it ends").status, Status::Completed);
    assert_eq!(held.store.writes(), (1, 1));
    assert_eq!(held.fixture.models.all_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_little_patience_gets_a_handle_in_time() {
    let held = Held::new(|_, _| Answer::Never).await;
    let started = tokio::time::Instant::now();
    let inline = held
        .submit_inline(request(), MOMENT)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(started.elapsed(), MOMENT);
    assert_eq!(
        held.fixture.status(inline.accepted.id).await,
        Status::Running
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_before_anything_is_stored_leaves_a_run_that_ends() {
    let held = Held::new(|_, _| Answer::After(MOMENT, "done")).await;
    let attending = held.submit_inline(request(), HOUR);
    held.fixture.models.next_call().await;
    attending.abort();
    assert!(attending.await.unwrap_err().is_cancelled());
    tokio::time::sleep(HOUR).await;
    assert_eq!(held.stored().await, [Status::Completed]);
    assert_eq!(held.fixture.models.all_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_end_cannot_be_stored_was_not_accepted() {
    let held = Held::new(|_, _| Answer::After(MOMENT, "done")).await;
    held.store.set_down(true);
    let refused = held.submit_inline(request(), HOUR).await.unwrap();
    assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");
    held.store.set_down(false);
    assert_eq!(held.stored().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_run_with_a_key_is_stored_first() {
    let held = Held::new(|_, _| Answer::After(MOMENT, "done")).await;
    let inline = held
        .submit_inline(with_key("k"), HOUR)
        .await
        .unwrap()
        .unwrap();
    let service = &held.fixture.service;
    service.wait_inline(inline, HOUR).await.unwrap();
    assert_eq!(held.store.writes(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_stored_yet_is_handed_back_by_a_drain() {
    let held = Held::new(|_, _| Answer::Never).await;
    let attending = held.submit_inline(request(), HOUR);
    held.fixture.models.next_call().await;
    let drained = held.fixture.service.drain(Duration::ZERO).await;
    let handed_back = Drained {
        handed_back: 1,
        ..Drained::default()
    };
    assert_eq!(drained, handed_back);
    let inline = attending.await.unwrap().unwrap();
    let job = held.fixture.service.get(inline.accepted.id).await;
    let job = job.unwrap().expect("it is stored");
    assert_eq!((job.status, job.attempts), (Status::Pending, 0));
}
