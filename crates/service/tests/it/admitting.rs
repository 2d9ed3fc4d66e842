//! A run begins while its job is being stored, and is nothing until it is.

use std::sync::Arc;
use std::time::Duration;

use jobs::job::Status;
use jobs::store::Filter;
use service::submission::{Accepted, RunRequest, SubmitError};
use service::{Drained, Settings};
use tokio::task::JoinHandle;

use crate::fixture::{Answer, Fixture, SharedStore, request, with_key};

const SECOND: Duration = Duration::from_secs(1);

fn one_slot(
    answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
) -> (Arc<SharedStore>, Fixture) {
    let store = Arc::new(SharedStore::default());
    let settings = Settings {
        max_running: 1,
        ..Settings::default()
    };
    let fixture = Fixture::with(store.clone(), settings, answer);
    (store, fixture)
}

/// Once the service has found that no job waits, a submission takes a slot at once.
async fn settle() {
    tokio::time::sleep(SECOND).await;
}

fn submit(fixture: &Fixture, request: RunRequest) -> JoinHandle<Result<Accepted, SubmitError>> {
    let (service, workflow) = (fixture.service.clone(), fixture.workflow.clone());
    tokio::spawn(async move { service.submit(&workflow, request).await })
}

#[tokio::test(start_paused = true)]
async fn the_first_model_call_is_made_while_the_job_is_stored() {
    let (store, fixture) = one_slot(|_, _| Answer::Text("done"));
    settle().await;
    store.hold_submissions();
    let submitting = submit(&fixture, request());
    fixture.models.next_call().await;
    settle().await;
    assert!(!submitting.is_finished(), "no handle before the commit");
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (1, 0),
        "nothing that has to be saved first"
    );
    store.let_submit(1);
    let accepted = submitting.await.unwrap().unwrap();
    let job = fixture.ended(&accepted).await;
    assert_eq!((job.status, job.attempts), (Status::Completed, 1));
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_job_cannot_be_stored_is_dropped() {
    let (store, fixture) = one_slot(|_, nth| match nth {
        1 => Answer::Never,
        _ => Answer::Text("done"),
    });
    settle().await;
    store.hold_submissions();
    let submitting = submit(&fixture, request());
    fixture.models.next_call().await;
    store.set_down(true);
    store.let_submit(1);
    let refused = submitting.await.unwrap();
    assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");
    settle().await;
    assert_eq!(fixture.models.in_flight(), 0);
    store.set_down(false);
    store.let_submit(1);
    let everything = fixture.service.list(&Filter::default(), None, 9).await;
    assert!(everything.unwrap().jobs.is_empty());
    assert_eq!(
        fixture.run().await.status,
        Status::Completed,
        "its slot is free again"
    );
}

#[tokio::test(start_paused = true)]
async fn with_a_key_nothing_is_called_before_the_key_is_known_to_be_new() {
    let (store, fixture) = one_slot(|_, _| Answer::Text("done"));
    settle().await;
    store.hold_submissions();
    let first = submit(&fixture, with_key("k"));
    settle().await;
    assert_eq!(fixture.models.all_calls(), 0);
    store.let_submit(1);
    let first = first.await.unwrap().unwrap();
    fixture.ended(&first).await;
    let again = submit(&fixture, with_key("k"));
    settle().await;
    store.let_submit(1);
    assert_eq!(again.await.unwrap().unwrap().id, first.id);
    assert_eq!(fixture.models.all_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_during_the_commit_leaves_a_job_that_runs() {
    let (store, fixture) = one_slot(|_, _| Answer::Text("done"));
    settle().await;
    store.hold_submissions();
    let submitting = submit(&fixture, request());
    fixture.models.next_call().await;
    submitting.abort();
    assert!(submitting.await.unwrap_err().is_cancelled());
    store.let_submit(1);
    settle().await;
    let page = fixture.service.list(&Filter::default(), None, 9).await;
    let [job] = &page.unwrap().jobs[..] else {
        panic!("one job")
    };
    assert_eq!((job.status, job.attempts), (Status::Completed, 1));
    assert_eq!(fixture.models.all_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_stored_during_a_drain_is_handed_back() {
    let (store, fixture) = one_slot(|_, _| Answer::Never);
    settle().await;
    store.hold_submissions();
    let submitting = submit(&fixture, request());
    fixture.models.next_call().await;
    let service = fixture.service.clone();
    let draining = tokio::spawn(async move { service.drain(Duration::ZERO).await });
    settle().await;
    store.let_submit(1);
    let accepted = submitting.await.unwrap().unwrap();
    let handed_back = Drained {
        handed_back: 1,
        ..Drained::default()
    };
    assert_eq!(draining.await.unwrap(), handed_back);
    let job = fixture.service.get(accepted.id).await.unwrap().unwrap();
    assert_eq!((job.status, job.attempts), (Status::Pending, 0));
    assert_eq!(fixture.models.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_lapsed_while_its_job_was_stored_is_renewed_before_anything_is_claimed() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| {
        Answer::After(Duration::from_secs(50), "done")
    });
    settle().await;
    store.hold_submissions();
    let submitting = submit(&fixture, request());
    fixture.models.next_call().await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    store.let_submit(1);
    let accepted = submitting.await.unwrap().unwrap();
    let job = fixture.ended(&accepted).await;
    assert_eq!((job.status, job.attempts), (Status::Completed, 1));
    assert_eq!(fixture.models.all_calls(), 2);
}
