//! Two processes on one store, and a store that fails.

use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use jiff::Timestamp;
use jobs::job::{JobId, NewJob, Status, Workload};
use jobs::json::Json;
use jobs::signals::NoSignals;
use jobs::store::{CancelRequested, JobStore, Replica, ReplicaId, SubmitOptions};
use serde_json::json;
use service::submission::SubmitError;
use service::{Config, NotReady, Service, Settings};
use tokio::sync::Semaphore;

use crate::fixture::{
    Answer, FakeModels, Fakes, Fixture, HOUR, SharedStore, TestHost, chain, output, request,
    with_key,
};

fn two_on_one_store(
    settings: &Settings,
    models: &Arc<FakeModels>,
) -> (Arc<SharedStore>, Fixture, Fixture) {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let fixture = || {
        Fixture::on(
            store.clone(),
            host.clone(),
            settings.clone(),
            models.clone(),
        )
    };
    let (first, second) = (fixture(), fixture());
    (store, first, second)
}

#[tokio::test(start_paused = true)]
async fn a_run_far_longer_than_its_lease_is_dispatched_once() {
    let models = FakeModels::new(|_, _| Answer::After(Duration::from_secs(100), "done"));
    let settings = Settings {
        lease: Duration::from_secs(10),
        ..Settings::default()
    };
    let (_store, first, _second) = two_on_one_store(&settings, &models);
    let job = first.run().await;
    assert_eq!((job.status, job.attempts), (Status::Completed, 1));
    assert_eq!(models.all_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_makes_no_run_start_again() {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let models = FakeModels::new(move |_, _| Answer::Held(held.clone(), "done"));
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let fixture = Fixture::on(store, host.clone(), Settings::default(), models);
    let accepted = fixture.submit().await;
    for seconds in [3_600, -3_600, 0] {
        host.set_clock(seconds);
        let waited = fixture
            .service
            .wait(&accepted, Duration::from_secs(35))
            .await;
        assert_eq!(waited, None);
        assert_eq!(fixture.models.calls("a"), 1, "set by {seconds} s");
    }
    permits.add_permits(2);
    let job = fixture.ended(&accepted).await;
    assert_eq!((job.status, job.attempts), (Status::Completed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_elsewhere_can_be_awaited_watched_and_cancelled() {
    let models = FakeModels::new(|_, _| Answer::Never);
    let (_store, first, second) = two_on_one_store(&Settings::default(), &models);
    let accepted = first.submit().await;
    models.next_call().await;
    let service = second.service.clone();
    let waiting = tokio::spawn(async move { service.wait_for(accepted.id, HOUR).await });
    let service = second.service.clone();
    let watching =
        tokio::spawn(async move { crate::fixture::collect(service.events(accepted.id, 0)).await });
    assert_eq!(
        second.service.cancel(accepted.id).await.unwrap(),
        CancelRequested::Cancelling
    );
    assert_eq!(
        waiting.await.unwrap().unwrap().unwrap().status,
        Status::Cancelled
    );
    let events = watching.await.unwrap();
    assert_eq!(
        crate::fixture::kinds(&events),
        ["run_started", "node_started", "run_cancelled"]
    );
    assert_eq!(models.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_job_was_taken_over_stops_and_does_not_overwrite() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| Answer::Never);
    let accepted = fixture.submit().await;
    fixture.models.next_call().await;
    // As another process would that believes this one dead.
    let far_ahead = fixture.service.host().now() + jiff::SignedDuration::from_hours(1);
    let other = registered(&store, 9, far_ahead).await;
    let claimed = store.claim(other, 1, far_ahead).await.unwrap();
    assert_eq!(claimed[0].job.id, accepted.id);
    assert_eq!(
        fixture
            .service
            .wait(&accepted, Duration::from_secs(60))
            .await,
        None
    );
    assert_eq!(fixture.models.in_flight(), 0);
    assert_eq!(
        (
            fixture.status(accepted.id).await,
            fixture.models.all_calls()
        ),
        (Status::Running, 1)
    );
    store
        .checkpoint(&claimed[0].lease, None, Vec::new())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_on_by_the_definition_it_was_accepted_with() {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let models = FakeModels::new(|node, nth| match (node, nth) {
        ("b", 1) => Answer::Never,
        _ => Answer::Text("done"),
    });
    let first = Fixture::on(
        store.clone(),
        host.clone(),
        Settings::default(),
        models.clone(),
    );
    let accepted = first.submit().await;
    models.next_call().await;
    models.next_call().await;
    first.service.drain(Duration::ZERO).await;

    let second = Fixture::on(store, host, Settings::default(), models.clone());
    second.service.catalog().put(chain(&["a", "c"]));
    let job = second
        .service
        .wait_for(accepted.id, HOUR)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (job.status, output(&job, "b")),
        (Status::Completed, json!("done"))
    );
    assert_eq!((models.calls("a"), models.calls("c")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_takes_its_process_down_again_and_again_is_given_up() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| {
        Answer::Text("done")
    });
    let idle = fixture.service.clone();
    idle.drain(Duration::ZERO).await;
    let settings = Settings {
        max_starts: 3,
        ..Settings::default()
    };
    let first = Fixture::on(
        store.clone(),
        Arc::new(TestHost::new()),
        settings.clone(),
        FakeModels::new(|_, _| Answer::Never),
    );
    let accepted = first.submit().await;
    first.service.drain(Duration::ZERO).await;
    for number in 0..3 {
        let now = first.service.host().now();
        let dying = registered(&store, number, now).await;
        assert_eq!(store.claim(dying, 1, now).await.unwrap().len(), 1);
        store.deregister(dying).await.unwrap();
    }
    let last = Fixture::with(store, settings, |_, _| Answer::Text("done"));
    let job = last
        .service
        .wait_for(accepted.id, HOUR)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (job.status, crate::fixture::problem_code(&job).as_str()),
        (Status::Failed, "internal")
    );
    assert_eq!(last.models.all_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_accepted_while_the_store_is_down() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| {
        Answer::Text("done")
    });
    store.set_down(true);
    let refused = fixture.service.submit(&fixture.workflow, request()).await;
    assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");
    assert!(matches!(
        fixture.service.ready().await,
        Err(NotReady::Store(_))
    ));
    store.set_down(false);
    assert!(fixture.service.ready().await.is_ok());
    assert_eq!(fixture.run().await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_cannot_be_stored_is_stored_when_the_store_is_back() {
    let permits = Arc::new(Semaphore::new(1));
    let held = permits.clone();
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), move |_, _| {
        Answer::Held(held.clone(), "done")
    });
    let accepted = fixture.submit().await;
    fixture.models.next_call().await;
    fixture.models.next_call().await;
    store.set_down(true);
    permits.add_permits(1);
    assert_eq!(
        fixture
            .service
            .wait(&accepted, Duration::from_secs(20))
            .await,
        None
    );
    store.set_down(false);
    assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (1, 1)
    );
}

/// A replica whose lease lasts an hour.
async fn registered(store: &SharedStore, number: u128, now: Timestamp) -> ReplicaId {
    let replica = Replica {
        id: ReplicaId(uuid::Uuid::from_u128(number)),
        name: "other".into(),
        version: "0".into(),
        level: 1,
        lease_for: HOUR,
    };
    store.register(&replica, now).await.unwrap();
    replica.id
}

/// Jobs of the chain `a`, `b` that a process that is dead holds for another hour.
async fn orphans(store: &SharedStore, number: u128, now: Timestamp) -> Vec<JobId> {
    let workflow = chain(&["a", "b"]);
    let dead = registered(store, 4, now).await;
    let mut ids = Vec::new();
    for number in 1..=number {
        let id = JobId(uuid::Uuid::from_u128(number));
        let job = NewJob {
            id,
            workflow: workflow.name.clone(),
            definition: workflow.definition.clone(),
            workload: Workload {
                inputs: Json::of(&json!({"topic": "bees"})),
                options: None,
                progress: None,
            },
            metadata: None,
            created_at: now,
            deadline: None,
            owner: None,
            retried_from: None,
            idempotency: None,
            webhook: None,
            level: 1,
        };
        let options = SubmitOptions {
            claim: Some(dead),
            ..SubmitOptions::default()
        };
        store.submit(job, options).await.unwrap();
        ids.push(id);
    }
    ids
}

#[tokio::test(start_paused = true)]
async fn alone_on_its_store_a_process_goes_on_at_once_with_what_a_dead_one_left() {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let ids = orphans(&store, 3_000, host.now()).await;
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let settings = Settings {
        exclusive_store: true,
        ..Settings::default()
    };
    let service = Service::new(Config {
        store: store.clone(),
        signals: Arc::new(NoSignals),
        models: Arc::new(Fakes(models.clone())),
        host,
        webhooks: None,
        accounts: None,
        settings,
    });
    let begun = tokio::time::Instant::now();
    for id in ids {
        let job = service.wait_for(id, HOUR).await.unwrap().unwrap();
        assert_eq!((job.status, job.attempts), (Status::Completed, 2));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        store.definitions_read(),
        1,
        "the workflow is not served any more"
    );
}

#[tokio::test(start_paused = true)]
async fn on_a_shared_store_a_lease_is_waited_for() {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let id = orphans(&store, 1, host.now()).await[0];
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let fixture = Fixture::on(store, host, Settings::default(), models);
    let service = &fixture.service;
    let early = service.wait_for(id, Duration::from_secs(3_590)).await;
    assert_eq!(early.unwrap().unwrap().status, Status::Running);
    let late = service.wait_for(id, HOUR).await;
    assert_eq!(late.unwrap().unwrap().status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_longer_than_a_lease_makes_no_run_start_again() {
    for milliseconds in (31_000..42_000).step_by(1_000) {
        let store = Arc::new(SharedStore::default());
        let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| {
            Answer::After(Duration::from_secs(55), "done")
        });
        let accepted = fixture.submit().await;
        fixture.models.next_call().await;
        store.set_down(true);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        store.set_down(false);
        let job = fixture.ended(&accepted).await;
        assert_eq!((job.status, job.attempts), (Status::Completed, 1));
        assert_eq!(fixture.models.all_calls(), 2, "away for {milliseconds} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_known_to_fail_nothing_asks_the_model() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| {
        Answer::Text("done")
    });
    let service = fixture.service.clone();
    store.set_down(true);
    let first = service.submit(&fixture.workflow, request()).await;
    assert!(matches!(first, Err(SubmitError::Store(_))), "{first:?}");
    let paid_before_it_was_known = fixture.models.all_calls();
    assert!(paid_before_it_was_known <= 1);
    for seconds in 0..10 {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let submitted = service.submit(&fixture.workflow, request()).await;
        assert!(matches!(submitted, Err(SubmitError::Store(_))));
        let inline = service
            .submit_inline(&fixture.workflow, request(), HOUR)
            .await;
        assert!(matches!(inline, Err(SubmitError::Store(_))));
        let keyed = service.submit(&fixture.workflow, with_key("k")).await;
        assert!(matches!(keyed, Err(SubmitError::Store(_))));
    }
    assert_eq!(fixture.models.all_calls(), paid_before_it_was_known);
    store.set_down(false);
    assert_eq!(fixture.run().await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_accepted_begins_when_the_store_has_recovered() {
    let store = Arc::new(SharedStore::default());
    let settings = Settings {
        max_running: 1,
        ..Settings::default()
    };
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let fixture = Fixture::with(store.clone(), settings, move |_, nth| match nth {
        1 => Answer::Held(held.clone(), "done"),
        _ => Answer::Text("done"),
    });
    let (first, second) = (fixture.submit().await, fixture.submit().await);
    fixture.models.next_call().await;
    store.set_down(true);
    permits.add_permits(2);
    tokio::time::sleep(HOUR).await;
    assert_eq!(
        fixture.models.all_calls(),
        1,
        "its checkpoint is not stored"
    );
    store.set_down(false);
    for accepted in [first, second] {
        assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_asks_the_store_no_more_than_once_a_second_unless_it_fails() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| Answer::Never);
    let service = &fixture.service;
    service.ready().await.unwrap();
    let asked = store.pings();
    for _ in 0..10 {
        service.ready().await.unwrap();
    }
    assert_eq!(store.pings(), asked);
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.set_down(true);
    assert!(service.ready().await.is_err());
    store.set_down(false);
    service.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn on_a_disk_where_only_small_writes_succeed_large_runs_are_not_paid_for_in_vain() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| {
        Answer::Text("done")
    });
    store.refuse_submissions(true);
    let submit = async || fixture.service.submit(&fixture.workflow, request()).await;
    assert!(matches!(submit().await, Err(SubmitError::Store(_))));
    let paid = fixture.models.all_calls();
    for _ in 0..10 {
        // It is asked meanwhile, and answers that all is well.
        tokio::time::sleep(Duration::from_secs(5)).await;
        fixture.service.ready().await.unwrap();
        assert!(matches!(submit().await, Err(SubmitError::Store(_))));
    }
    assert_eq!(fixture.models.all_calls(), paid);
    store.refuse_submissions(false);
    assert_eq!(fixture.run().await.status, Status::Completed);
}

/// (A claim whose answer took longer than two beats: its jobs were given back, and begun all the
/// same.)
#[tokio::test(start_paused = true)]
async fn jobs_of_a_claim_whose_answer_takes_many_beats_are_begun_once() {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let models = FakeModels::new(|_, _| Answer::After(Duration::from_secs(7), "done"));
    let settings = Settings {
        lease: Duration::from_secs(3),
        max_running: 1,
        ..Settings::default()
    };
    let fixture = Fixture::on(store.clone(), host, settings, models.clone());
    let first = fixture.submit().await;
    let second = fixture.submit().await;
    store.hold_claims();
    fixture.ended(&first).await;
    // The store gives the second one; a beat each second tells of it.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(fixture.status(second.id).await, Status::Running);
    assert_eq!(models.all_calls(), 2);
    store.let_claim(Semaphore::MAX_PERMITS / 2);
    let job = fixture.ended(&second).await;
    assert_eq!((job.status, job.attempts), (Status::Completed, 1));
    assert_eq!(models.all_calls(), 4);
}
