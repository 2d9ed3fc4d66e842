use std::sync::Arc;
use std::time::Duration;

use engine::event::{EventKind, RunEvent};
use futures_util::StreamExt;
use jobs::memory::MemoryStore;
use service::Settings;
use service::events::Event;
use service::submission::RunRequest;
use tokio::sync::Semaphore;

use crate::fixture::{Answer, Fixture, collect, kinds, request};

const WHOLE_RUN: [&str; 6] = [
    "run_started",
    "node_started",
    "node_completed",
    "node_started",
    "node_completed",
    "run_completed",
];

/// Each node waits for a permit.
fn held(settings: Settings) -> (Fixture, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let fixture = Fixture::with(Arc::new(MemoryStore::default()), settings, move |_, _| {
        Answer::Held(held.clone(), "done")
    });
    (fixture, permits)
}

fn read(event: &Event) -> RunEvent {
    event.data.read().unwrap()
}

#[tokio::test(start_paused = true)]
async fn stored_events_tell_the_whole_run() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let job = fixture.run().await;
    let events = fixture.all_events(job.id, 0).await;
    assert_eq!(kinds(&events), WHOLE_RUN);
    assert_eq!(
        events.iter().map(|event| event.id).collect::<Vec<_>>(),
        (1..=6).map(Some).collect::<Vec<_>>()
    );
    for event in &events {
        assert_eq!(Some(read(event).id), event.id);
        let value: serde_json::Value = event.data.read().unwrap();
        assert_eq!(value["event"], *event.kind);
    }
    let EventKind::RunCompleted { outputs, usage, .. } = read(&events[5]).kind else {
        panic!("{:?}", events[5])
    };
    let kept: serde_json::Map<String, serde_json::Value> = job.outputs.unwrap().read().unwrap();
    assert_eq!(*outputs, kept);
    assert_eq!(*usage, job.usage.unwrap().read().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_replay_from_every_position_has_neither_gap_nor_duplicate() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let job = fixture.run().await;
    let whole = fixture.all_events(job.id, 0).await;
    for after in 0..=whole.len() {
        assert_eq!(
            fixture.all_events(job.id, after as u64).await,
            whole[after..],
            "after {after}"
        );
    }
    assert!(fixture.all_events(job.id, 99).await.is_empty());
    let missing = jobs::job::JobId(uuid::Uuid::nil());
    assert!(fixture.all_events(missing, 0).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_dropped_at_every_event_resumes_without_gap_or_duplicate() {
    let (fixture, permits) = held(Settings::default());
    let accepted = fixture.submit().await;
    let mut seen: Vec<Event> = Vec::new();
    loop {
        let after = seen.last().and_then(|event| event.id).unwrap_or(0);
        let mut events = Box::pin(fixture.service.events(accepted.id, after));
        // The first events are there already; the later ones come only when the model answers.
        if seen.len() >= 2 {
            permits.add_permits(1);
        }
        match events.next().await {
            Some(event) => seen.push(event.unwrap()),
            None => break,
        }
    }
    assert_eq!(kinds(&seen), WHOLE_RUN);
    assert_eq!(seen, fixture.all_events(accepted.id, 0).await);
}

#[tokio::test(start_paused = true)]
async fn watchers_from_every_position_see_the_same_live() {
    let (fixture, permits) = held(Settings::default());
    let accepted = fixture.submit().await;
    let mut watchers = Vec::new();
    for after in 0..4 {
        watchers.push(tokio::spawn(collect(
            fixture.service.events(accepted.id, after),
        )));
        fixture.models.in_flight();
        tokio::task::yield_now().await;
        permits.add_permits(usize::from(after == 2));
    }
    permits.add_permits(1);
    fixture.ended(&accepted).await;
    let whole = fixture.all_events(accepted.id, 0).await;
    for (after, watcher) in watchers.into_iter().enumerate() {
        assert_eq!(watcher.await.unwrap(), whole[after..], "after {after}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_come_at_any_moment_see_every_event_once() {
    let fixture = Arc::new(Fixture::new(|_, _| Answer::Text("done")));
    let mut watchers = tokio::task::JoinSet::new();
    for round in 0..500 {
        let fixture = fixture.clone();
        watchers.spawn(async move {
            let accepted = fixture.submit().await;
            for _ in 0..round % 10 {
                tokio::task::yield_now().await;
            }
            let events = fixture.all_events(accepted.id, 0).await;
            assert_eq!(kinds(&events), WHOLE_RUN, "round {round}");
        });
    }
    watchers.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_an_event_as_it_happens() {
    let (fixture, permits) = held(Settings::default());
    let accepted = fixture.submit().await;
    let mut events = Box::pin(fixture.service.events(accepted.id, 0));
    let mut next = async || events.next().await.unwrap().unwrap().kind;
    assert_eq!(next().await, "run_started");
    assert_eq!(next().await, "node_started");
    let begun = tokio::time::Instant::now();
    permits.add_permits(1);
    assert_eq!(next().await, "node_completed");
    assert_eq!(next().await, "node_started");
    assert_eq!(
        begun.elapsed(),
        Duration::ZERO,
        "nothing waits for a look at the store"
    );
}

fn streaming(settings: Settings, pieces: &'static [&'static str]) -> (Fixture, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let fixture = Fixture::with(Arc::new(MemoryStore::default()), settings, move |_, _| {
        Answer::Pieces(held.clone(), pieces)
    });
    (fixture, permits)
}

fn delta_text(event: &Event) -> String {
    match read(event).kind {
        EventKind::LlmDelta { text, .. } => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn deltas_come_live_in_their_place_and_are_not_replayed() {
    let (fixture, permits) = streaming(Settings::default(), &["be", "es"]);
    let request = RunRequest {
        stream: true,
        ..request()
    };
    let accepted = fixture
        .service
        .submit(&fixture.workflow, request)
        .await
        .unwrap();
    let watching = tokio::spawn(collect(fixture.service.events(accepted.id, 0)));
    fixture.models.next_call().await;
    tokio::task::yield_now().await;
    permits.add_permits(4);
    let events = watching.await.unwrap();
    let expected = [
        "run_started",
        "node_started",
        "llm_delta",
        "llm_delta",
        "node_completed",
        "node_started",
        "llm_delta",
        "llm_delta",
        "node_completed",
        "run_completed",
    ];
    assert_eq!(kinds(&events), expected);
    assert_eq!(
        [delta_text(&events[2]), delta_text(&events[3])].concat(),
        "bees"
    );
    assert_eq!((events[2].id, read(&events[2]).id), (None, 0));
    let stored: Vec<Event> = events
        .into_iter()
        .filter(|event| event.id.is_some())
        .collect();
    assert_eq!(stored, fixture.all_events(accepted.id, 0).await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_holds_up_nothing_and_still_misses_no_event() {
    let settings = Settings {
        event_buffer: 2,
        ..Settings::default()
    };
    let (fixture, permits) = streaming(settings, &["x"; 100]);
    let request = RunRequest {
        stream: true,
        ..request()
    };
    let accepted = fixture
        .service
        .submit(&fixture.workflow, request)
        .await
        .unwrap();
    let mut slow = Box::pin(fixture.service.events(accepted.id, 0));
    let first = slow.next().await.unwrap().unwrap();
    permits.add_permits(200);
    fixture.ended(&accepted).await;
    let rest = collect(slow).await;
    let deltas = rest.iter().filter(|event| event.id.is_none()).count();
    assert!(deltas <= 2, "{deltas} deltas were kept for it");
    let stored: Vec<Event> = std::iter::once(first)
        .chain(rest)
        .filter(|event| event.id.is_some())
        .collect();
    assert_eq!(stored, fixture.all_events(accepted.id, 0).await);
}

#[tokio::test(start_paused = true)]
async fn the_last_event_of_a_job_cancelled_in_the_queue_is_the_same_each_time() {
    let settings = Settings {
        max_running: 1,
        ..Settings::default()
    };
    let (fixture, _permits) = held(settings);
    let (_running, waiting) = (fixture.submit().await, fixture.submit().await);
    let watching = tokio::spawn(collect(fixture.service.events(waiting.id, 0)));
    fixture.service.cancel(waiting.id).await.unwrap();
    let events = watching.await.unwrap();
    assert_eq!(
        (kinds(&events), events[0].id),
        (vec!["run_cancelled"], Some(1))
    );
    assert!(matches!(
        read(&events[0]).kind,
        EventKind::RunCancelled {
            execution_time_ms: 0
        }
    ));
    assert_eq!(fixture.all_events(waiting.id, 0).await, events);
    assert!(fixture.all_events(waiting.id, 1).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_for_a_run_sees_its_first_deltas() {
    let (fixture, permits) = streaming(Settings::default(), &["be", "es"]);
    permits.add_permits(4);
    let request = RunRequest {
        stream: true,
        ..request()
    };
    let accepted = fixture
        .service
        .submit(&fixture.workflow, request)
        .await
        .unwrap();
    fixture.ended(&accepted).await;
    let events = collect(fixture.service.follow(&accepted)).await;
    let expected = [
        "run_started",
        "node_started",
        "llm_delta",
        "llm_delta",
        "node_completed",
        "node_started",
        "llm_delta",
        "llm_delta",
        "node_completed",
        "run_completed",
    ];
    assert_eq!(kinds(&events), expected);
    let again = collect(fixture.service.follow(&accepted)).await;
    assert_eq!(kinds(&again), WHOLE_RUN);
}
