use std::sync::Arc;
use std::time::Duration;

use jobs::job::Status;
use jobs::memory::MemoryStore;
use service::submission::SubmitError;
use service::{Drained, NotReady, Settings};
use tokio::sync::Semaphore;

use crate::fixture::{Answer, FakeModels, Fixture, HOUR, SharedStore, TestHost, kinds, request};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn runs_in_flight_end_and_new_ones_are_refused() {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let fixture = Fixture::new(move |_, _| Answer::Held(held.clone(), "done"));
    let accepted = fixture.submit().await;
    assert!(fixture.service.ready().await.is_ok());
    let service = fixture.service.clone();
    let draining = tokio::spawn(async move { service.drain(MINUTE).await });
    fixture.models.next_call().await;
    while !fixture.service.is_draining() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(
        fixture.service.ready().await,
        Err(NotReady::Draining)
    ));
    let refused = fixture.service.submit(&fixture.workflow, request()).await;
    assert!(matches!(refused, Err(SubmitError::Draining)), "{refused:?}");
    permits.add_permits(2);
    assert_eq!(
        draining.await.unwrap(),
        Drained {
            finished: 1,
            ..Drained::default()
        }
    );
    assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_idle_service_drains_at_once() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    fixture.run().await;
    let begun = tokio::time::Instant::now();
    assert_eq!(fixture.service.drain(HOUR).await, Drained::default());
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_wait_in_memory_still_run() {
    let settings = Settings {
        max_running: 1,
        ..Settings::default()
    };
    let fixture = Fixture::with(Arc::new(MemoryStore::default()), settings, |_, _| {
        Answer::After(Duration::from_secs(1), "done")
    });
    let accepted = [
        fixture.submit().await,
        fixture.submit().await,
        fixture.submit().await,
    ];
    assert_eq!(
        fixture.service.drain(MINUTE).await,
        Drained {
            finished: 3,
            ..Drained::default()
        }
    );
    for handle in &accepted {
        assert_eq!(fixture.ended(handle).await.status, Status::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_in_memory_is_cancelled() {
    let settings = Settings {
        max_running: 1,
        ..Settings::default()
    };
    let fixture = Fixture::with(Arc::new(MemoryStore::default()), settings, |_, _| {
        Answer::Never
    });
    let (running, waiting) = (fixture.submit().await, fixture.submit().await);
    let drained = fixture.service.drain(MINUTE).await;
    assert_eq!(
        drained,
        Drained {
            cancelled: 2,
            ..Drained::default()
        }
    );
    assert_eq!(
        (fixture.models.all_calls(), fixture.models.in_flight()),
        (1, 0)
    );
    for accepted in [running, waiting] {
        assert_eq!(fixture.status(accepted.id).await, Status::Cancelled);
        assert_eq!(
            fixture
                .all_events(accepted.id, 0)
                .await
                .last()
                .unwrap()
                .kind,
            "run_cancelled"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_in_a_durable_store_goes_on_in_the_next_process() {
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
    assert_eq!(
        first.service.drain(MINUTE).await,
        Drained {
            handed_back: 1,
            ..Drained::default()
        }
    );
    assert_eq!(
        (first.status(accepted.id).await, models.in_flight()),
        (Status::Pending, 0)
    );

    let second = Fixture::on(store, host, Settings::default(), models.clone());
    let job = second
        .service
        .wait_for(accepted.id, HOUR)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((job.status, job.attempts), (Status::Completed, 1));
    assert_eq!((models.calls("a"), models.calls("b")), (1, 2));
    let events = second.all_events(accepted.id, 0).await;
    let expected = [
        "run_started",
        "node_started",
        "node_completed",
        "node_started",
        "run_started",
        "node_started",
        "node_completed",
        "run_completed",
    ];
    assert_eq!(kinds(&events), expected);
    assert!(events.is_sorted_by(|earlier, later| earlier.id < later.id));
}

#[tokio::test(start_paused = true)]
async fn a_run_is_handed_back_when_the_store_answers_again() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| Answer::Never);
    let accepted = fixture.submit().await;
    fixture.models.next_call().await;
    store.set_down(true);
    let service = fixture.service.clone();
    let draining = tokio::spawn(async move { service.drain(Duration::ZERO).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    store.set_down(false);
    assert_eq!(draining.await.unwrap().handed_back, 1);
    let job = fixture.service.get(accepted.id).await.unwrap().unwrap();
    assert_eq!((job.status, job.attempts), (Status::Pending, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_ever_for_its_store() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), Settings::default(), |_, _| Answer::Never);
    let accepted = fixture.submit().await;
    fixture.models.next_call().await;
    store.set_down(true);
    let begun = tokio::time::Instant::now();
    assert_eq!(fixture.service.drain(MINUTE).await, Drained::default());
    assert!(begun.elapsed() < MINUTE * 2);
    assert_eq!(fixture.models.in_flight(), 0);
    store.set_down(false);
    tokio::time::sleep(HOUR).await;
    assert_eq!(
        fixture.status(accepted.id).await,
        Status::Running,
        "nothing is done any more; the next process takes it over"
    );
}

#[tokio::test(start_paused = true)]
async fn many_runs_are_handed_back_with_their_attempts_unspent() {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let models = FakeModels::new(|_, nth| match nth {
        0..=300 => Answer::Never,
        _ => Answer::Text("done"),
    });
    let fixture = || {
        Fixture::on(
            store.clone(),
            host.clone(),
            Settings::default(),
            models.clone(),
        )
    };
    let first = fixture();
    let mut jobs = Vec::new();
    for _ in 0..300 {
        jobs.push(first.submit().await.id);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(models.in_flight(), 300);
    assert_eq!(first.service.drain(Duration::ZERO).await.handed_back, 300);
    let second = fixture();
    for id in jobs {
        let job = second.service.wait_for(id, HOUR).await.unwrap().unwrap();
        assert_eq!((job.status, job.attempts), (Status::Completed, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_at_the_end_of_a_drain_gets_a_handle() {
    let settings = Settings {
        max_running: 1,
        ..Settings::default()
    };
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store, settings, |_, _| Answer::Never);
    let service = fixture.service.clone();
    let workflow = fixture.workflow.clone();
    let inline = tokio::spawn(async move {
        let inline = service
            .submit_inline(&workflow, request(), HOUR)
            .await
            .unwrap();
        let id = inline.accepted.id;
        (id, service.wait_inline(inline, HOUR).await)
    });
    fixture.models.next_call().await;
    let queued = fixture.submit().await;
    let waiting = tokio::spawn({
        let (service, queued) = (fixture.service.clone(), queued.clone());
        async move { service.wait(&queued, HOUR).await }
    });
    let polling = tokio::spawn({
        let service = fixture.service.clone();
        async move { service.wait_for(queued.id, HOUR).await }
    });
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    fixture.service.drain(MINUTE).await;
    let (id, told) = inline.await.unwrap();
    assert_eq!((told, waiting.await.unwrap()), (None, None));
    let polled = polling.await.unwrap().unwrap().unwrap();
    assert_eq!((polled.id, polled.status), (queued.id, Status::Pending));
    assert_eq!(fixture.status(id).await, Status::Pending, "it was stored");
    assert_eq!(begun.elapsed(), MINUTE, "nobody is waited for");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_an_event_that_says_that_the_server_stops() {
    let fixture = Fixture::with(
        Arc::new(SharedStore::default()),
        Settings::default(),
        |node, _| match node {
            "a" => Answer::Text("done"),
            _ => Answer::Never,
        },
    );
    let accepted = fixture.submit().await;
    fixture.models.next_call().await;
    fixture.models.next_call().await;
    let watching = tokio::spawn(crate::fixture::collect(
        fixture.service.events(accepted.id, 0),
    ));
    tokio::task::yield_now().await;
    fixture.service.drain(MINUTE).await;
    let events = watching.await.unwrap();
    assert_eq!(
        kinds(&events),
        [
            "run_started",
            "node_started",
            "node_completed",
            "node_started",
            "server_stopping"
        ]
    );
    let last = events.last().unwrap();
    assert!(last.is_server_stopping() && !last.is_final());
    assert_eq!(last.id, None, "nobody resumes from it");
    let data: serde_json::Value = last.data.read().unwrap();
    assert_eq!(data["job_id"], serde_json::json!(accepted.id));
    assert_eq!(data.get("id"), None, "in its data neither");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_gets_a_handle_though_the_store_fails() {
    let store = Arc::new(SharedStore::default());
    let settings = Settings {
        max_running: 1,
        ..Settings::default()
    };
    let fixture = Fixture::with(store.clone(), settings, |_, _| Answer::Never);
    fixture.submit().await;
    fixture.models.next_call().await;
    let queued = fixture.submit().await;
    store.set_down(true);
    assert_eq!(fixture.service.wait(&queued, HOUR).await, None);
    store.set_down(false);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_prepares_to_stop_is_not_ready_and_still_takes_runs() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    fixture.service.prepare_to_stop();
    assert!(matches!(
        fixture.service.ready().await,
        Err(NotReady::Draining)
    ));
    assert_eq!(fixture.run().await.status, Status::Completed);
}
