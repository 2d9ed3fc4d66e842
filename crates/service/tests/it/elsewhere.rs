//! Jobs that run at another replica: watching, waiting and cancelling, with signals and with none.

use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use futures_util::StreamExt;
use jobs::job::{JobId, Status};
use jobs::memory::MemoryStore;
use jobs::signals::{InProcess, NoSignals, Signals};
use jobs::store::{CancelRequested, JobStore};
use service::Settings;
use service::events::Event;
use service::submission::RunRequest;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::fixture::{Answer, FakeModels, Fixture, HOUR, SharedStore, TestHost, kinds, request};

const WHOLE_RUN: [&str; 6] = [
    "run_started",
    "node_started",
    "node_completed",
    "node_started",
    "node_completed",
    "run_completed",
];

/// Until something is known elsewhere, with signals.
const SIGNALLED: Duration = Duration::from_millis(100);

/// The same without: an event may be stored a second later, and is found by the next look.
const POLLED: Duration = Duration::from_millis(1_500);

/// Replicas on one store.
struct Replicas {
    memory: Arc<MemoryStore>,
    host: Arc<TestHost>,
    models: Arc<FakeModels>,
    signals: Option<InProcess>,
}

struct Replica {
    fixture: Fixture,
    store: Arc<SharedStore>,
}

impl Replicas {
    fn new(
        has_signals: bool,
        answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self {
            memory: Arc::default(),
            host: Arc::new(TestHost::new()),
            models: FakeModels::new(answer),
            signals: has_signals.then(InProcess::default),
        }
    }

    fn start(&self, max_running: usize) -> Replica {
        self.start_with(Settings {
            max_running,
            ..Settings::default()
        })
    }

    fn start_with(&self, settings: Settings) -> Replica {
        let store = Arc::new(SharedStore::of_several(&self.memory));
        let signals: Arc<dyn Signals> = match &self.signals {
            Some(signals) => Arc::new(signals.join()),
            None => Arc::new(NoSignals),
        };
        let (host, models) = (self.host.clone(), self.models.clone());
        Replica {
            fixture: Fixture::sharing(store.clone(), signals, host, settings, models, None),
            store,
        }
    }
}

impl Replica {
    /// What a client sees that watches here, and when it saw it.
    fn watch(&self, id: JobId, after: u64) -> JoinHandle<Vec<(Event, Instant)>> {
        let events = self.fixture.service.events(id, after);
        tokio::spawn(async move {
            let events = events.map(|event| (event.unwrap(), Instant::now()));
            events.collect().await
        })
    }

    async fn registered(&self) {
        while self.store.replicas().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Its first looks are over.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Each call waits for a permit.
fn held() -> (Arc<Semaphore>, impl Fn(&str, usize) -> Answer + Send + Sync) {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    (permits, move |_: &str, _| {
        Answer::Held(held.clone(), "done")
    })
}

fn events_of(seen: &[(Event, Instant)]) -> Vec<Event> {
    seen.iter().map(|(event, _)| event.clone()).collect()
}

fn assert_whole_run(seen: &[(Event, Instant)]) {
    let events = events_of(seen);
    assert_eq!(kinds(&events), WHOLE_RUN);
    let ids: Vec<Option<u64>> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..=6).map(Some).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_elsewhere_sees_each_event_soon_after_it_happens() {
    for (has_signals, most) in [(true, SIGNALLED), (false, POLLED)] {
        let (permits, answer) = held();
        let replicas = Replicas::new(has_signals, answer);
        let (first, second) = (replicas.start(9), replicas.start(9));
        first.registered().await;
        let accepted = first.fixture.submit().await;
        let watching = second.watch(accepted.id, 0);
        let mut happened = Vec::new();
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(7)).await;
            happened.push(Instant::now());
            permits.add_permits(1);
        }
        let seen = watching.await.unwrap();
        assert_whole_run(&seen);
        for (at, indexes) in happened.iter().zip([[2, 3], [4, 5]]) {
            for index in indexes {
                let lag = seen[index].1 - *at;
                assert!(lag <= most, "{}: {lag:?}", seen[index].0.kind);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deltas_come_to_a_watcher_elsewhere_in_their_place_or_not_at_all() {
    for has_signals in [true, false] {
        let permits = Arc::new(Semaphore::new(0));
        let held = permits.clone();
        let replicas = Replicas::new(has_signals, move |_, _| {
            Answer::Pieces(held.clone(), &["be", "es", " hum"])
        });
        let (first, second) = (replicas.start(9), replicas.start(9));
        first.registered().await;
        let streaming = RunRequest {
            stream: true,
            ..request()
        };
        let workflow = &first.fixture.workflow;
        let accepted = first.fixture.service.submit(workflow, streaming).await;
        let id = accepted.unwrap().id;
        let watching = second.watch(id, 0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        for _ in 0..3 {
            // Two pieces soon after another, and one apart.
            permits.add_permits(2);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let seen = events_of(&watching.await.unwrap());
        let stored: Vec<Event> = seen
            .iter()
            .filter(|event| event.id.is_some())
            .cloned()
            .collect();
        assert_eq!(kinds(&stored), WHOLE_RUN);
        let mut last = 0;
        let mut texts = [String::new(), String::new()];
        for event in &seen {
            if let Some(id) = event.id {
                last = id;
                continue;
            }
            let delta: serde_json::Value = event.data.read().unwrap();
            assert_eq!(delta["id"], last, "{delta}");
            texts[usize::from(delta["node"] == "b")] += delta["text"].as_str().unwrap();
        }
        let expected = if has_signals { "bees hum" } else { "" };
        assert_eq!(texts, [expected, expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_at_another_replica_aborts_the_call() {
    for (has_signals, most) in [(true, SIGNALLED), (false, Duration::from_millis(1_200))] {
        let replicas = Replicas::new(has_signals, |_, _| Answer::Never);
        let (first, second) = (replicas.start(9), replicas.start(9));
        first.registered().await;
        let accepted = first.fixture.submit().await;
        replicas.models.next_call().await;
        let begun = Instant::now();
        let found = second.fixture.service.cancel(accepted.id).await.unwrap();
        assert_eq!(found, CancelRequested::Cancelling);
        while replicas.models.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(begun.elapsed() <= most, "{:?}", begun.elapsed());
        let job = first.fixture.ended(&accepted).await;
        assert_eq!(job.status, Status::Cancelled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_alone_cancels_nothing() {
    let (permits, answer) = held();
    let replicas = Replicas::new(true, answer);
    let (first, forger) = (replicas.start(9), replicas.signals.as_ref().unwrap().join());
    first.registered().await;
    let accepted = first.fixture.submit().await;
    for signal in [jobs::signals::Signal::Cancel, jobs::signals::Signal::Ended] {
        forger.publish(signal(accepted.id));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    permits.add_permits(2);
    assert_eq!(
        first.fixture.ended(&accepted).await.status,
        Status::Completed
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_at_a_full_replica_starts_at_a_free_one_and_its_client_hears_of_its_end() {
    for (has_signals, start, end) in [
        (true, SIGNALLED, SIGNALLED),
        (
            false,
            Duration::from_millis(1_200),
            Duration::from_millis(350),
        ),
    ] {
        let permits = Arc::new(Semaphore::new(0));
        let held = permits.clone();
        let replicas = Replicas::new(has_signals, move |node, nth| match (node, nth) {
            ("a", 1) => Answer::Never,
            _ => Answer::Held(held.clone(), "done"),
        });
        let (full, free) = (replicas.start(1), replicas.start(1));
        full.registered().await;
        let _running = full.fixture.submit().await;
        replicas.models.next_call().await;
        let submitted = Instant::now();
        let waiting = full.fixture.submit().await;
        replicas.models.next_call().await;
        assert!(submitted.elapsed() <= start, "{:?}", submitted.elapsed());
        let service = full.fixture.service.clone();
        let ended = tokio::spawn(async move { service.wait(&waiting, HOUR).await });
        tokio::time::sleep(Duration::from_secs(3)).await;
        permits.add_permits(9);
        let answered = Instant::now();
        let job = ended.await.unwrap().expect("it ends");
        assert_eq!(job.status, Status::Completed);
        assert!(answered.elapsed() <= end, "{:?}", answered.elapsed());
        drop(free);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_watchers_elsewhere_cost_no_more_calls_than_one() {
    for has_signals in [true, false] {
        let mut calls = Vec::new();
        for watchers in [1, 1_000] {
            let (permits, answer) = held();
            let replicas = Replicas::new(has_signals, answer);
            let (first, second) = (replicas.start(99), replicas.start(99));
            first.registered().await;
            let jobs = [
                first.fixture.submit().await.id,
                first.fixture.submit().await.id,
            ];
            let watching: Vec<_> = (0..watchers)
                .flat_map(|_| jobs.map(|id| second.watch(id, 0)))
                .collect();
            // They have read what there was.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let before = second.store.calls();
            tokio::time::sleep(Duration::from_secs(60)).await;
            permits.add_permits(2);
            tokio::time::sleep(Duration::from_secs(1)).await;
            permits.add_permits(2);
            for watcher in watching {
                assert_whole_run(&watcher.await.unwrap());
            }
            calls.push(second.store.calls() - before);
        }
        // Four looks a second, and those of the worker.
        assert!(calls[0] < 62 * 8, "{calls:?}");
        assert!(calls[1] <= calls[0] + 8, "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_for_events_where_nobody_watches() {
    let (_permits, answer) = held();
    let replicas = Replicas::new(true, answer);
    let (first, second) = (replicas.start(9), replicas.start(9));
    first.registered().await;
    let accepted = first.fixture.submit().await;
    let leaving = second.watch(accepted.id, 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    leaving.abort();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (idle, saved) = (second.store.calls(), first.store.checkpoints());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = second.store.calls() - idle;
    assert!(calls <= 60 * 3, "{calls} calls in a minute");
    assert_eq!(first.store.checkpoints(), saved);
}

/// (Reports: a watcher at another replica missed events, saw some twice, or never saw the last one,
/// when the run moved.)
#[tokio::test(start_paused = true)]
async fn a_takeover_while_a_job_is_watched_shows_each_event_once_and_one_end() {
    for has_signals in [true, false] {
        let (permits, answer) = held();
        let replicas = Replicas::new(has_signals, answer);
        let (first, second, third) = (replicas.start(9), replicas.start(9), replicas.start(0));
        first.registered().await;
        let accepted = first.fixture.submit().await;
        let watching = [second.watch(accepted.id, 0), third.watch(accepted.id, 0)];
        replicas.models.next_call().await;
        permits.add_permits(1);
        replicas.models.next_call().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        // The first one reaches the store no more, and the second one takes over.
        first.store.set_down(true);
        replicas.models.next_call().await;
        assert_eq!(replicas.models.in_flight(), 1, "the first one has stopped");
        permits.add_permits(1);
        for watcher in watching {
            let seen = watcher.await.unwrap();
            let events = events_of(&seen);
            let ids: Vec<u64> = events.iter().map(|event| event.id.unwrap()).collect();
            assert!(ids.iter().copied().eq(1..=ids.len() as u64), "{ids:?}");
            let ends = events.iter().filter(|event| event.is_final()).count();
            assert_eq!((ends, replicas.models.calls("a")), (1, 1));
            assert_eq!(events.last().unwrap().kind, "run_completed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn watchers_of_a_replica_that_drains_go_on_at_another() {
    for has_signals in [true, false] {
        let (permits, answer) = held();
        let replicas = Replicas::new(has_signals, answer);
        let (first, second) = (replicas.start(9), replicas.start(9));
        let third = replicas.start(9);
        first.registered().await;
        let accepted = first.fixture.submit().await;
        // Where it runs, and where it does not.
        let watching = [first.watch(accepted.id, 0), third.watch(accepted.id, 0)];
        replicas.models.next_call().await;
        permits.add_permits(1);
        replicas.models.next_call().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        tokio::join!(
            first.fixture.service.drain(Duration::ZERO),
            third.fixture.service.drain(Duration::ZERO),
        );
        let mut resumed = Vec::new();
        for watcher in watching {
            let mut seen = events_of(&watcher.await.unwrap());
            assert!(seen.pop().unwrap().is_server_stopping());
            let last = seen.last().unwrap().id.unwrap();
            resumed.push((seen, second.watch(accepted.id, last)));
        }
        permits.add_permits(1);
        for (mut seen, watcher) in resumed {
            seen.extend(events_of(&watcher.await.unwrap()));
            let ids: Vec<u64> = seen.iter().map(|event| event.id.unwrap()).collect();
            assert!(ids.iter().copied().eq(1..=ids.len() as u64), "{ids:?}");
            assert_eq!(seen.last().unwrap().kind, "run_completed");
        }
        assert_eq!(replicas.models.calls("a"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_kept_for_no_time_shows_its_end_to_watchers_elsewhere() {
    for has_signals in [true, false] {
        let (permits, answer) = held();
        let replicas = Replicas::new(has_signals, answer);
        let settings = Settings {
            retention: Duration::ZERO,
            ..Settings::default()
        };
        let first = replicas.start_with(settings.clone());
        let second = replicas.start_with(settings);
        first.registered().await;
        let accepted = first.fixture.submit().await;
        let watching = second.watch(accepted.id, 0);
        tokio::time::sleep(Duration::from_secs(3)).await;
        permits.add_permits(2);
        // Reading it removes it.
        first.fixture.ended(&accepted).await;
        assert_whole_run(&watching.await.unwrap());
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(replicas.memory.get(accepted.id).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_deleted_while_it_is_watched_elsewhere_ends_the_stream() {
    for has_signals in [true, false] {
        let (_permits, answer) = held();
        let replicas = Replicas::new(has_signals, answer);
        let (full, second) = (replicas.start(1), replicas.start(0));
        full.registered().await;
        let _running = full.fixture.submit().await;
        let waiting = full.fixture.submit().await;
        let watching = second.watch(waiting.id, 0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        second.store.set_down(true);
        full.fixture.service.cancel(waiting.id).await.unwrap();
        full.fixture.service.delete(waiting.id).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        second.store.set_down(false);
        assert!(watching.await.unwrap().is_empty());
    }
}

/// (A report: a client that did not read kept more and more events in memory.)
#[tokio::test(start_paused = true)]
async fn a_slow_watcher_elsewhere_misses_no_event() {
    let (permits, answer) = held();
    let replicas = Replicas::new(true, answer);
    let (first, second) = (replicas.start(9), replicas.start(9));
    first.registered().await;
    let accepted = first.fixture.submit().await;
    let mut slow = Box::pin(second.fixture.service.events(accepted.id, 0));
    let mut seen = vec![slow.next().await.unwrap().unwrap()];
    permits.add_permits(2);
    first.fixture.ended(&accepted).await;
    tokio::time::sleep(HOUR).await;
    while let Some(event) = slow.next().await {
        seen.push(event.unwrap());
    }
    assert_eq!(kinds(&seen), WHOLE_RUN);
}

#[tokio::test(start_paused = true)]
async fn without_a_store_a_watcher_elsewhere_goes_on_when_it_is_back() {
    let (permits, answer) = held();
    let replicas = Replicas::new(false, answer);
    let (first, second) = (replicas.start(9), replicas.start(9));
    first.registered().await;
    let accepted = first.fixture.submit().await;
    let watching = second.watch(accepted.id, 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    second.store.set_down(true);
    permits.add_permits(2);
    tokio::time::sleep(Duration::from_secs(9)).await;
    second.store.set_down(false);
    assert_whole_run(&watching.await.unwrap());
    assert!(replicas.host.elapsed() < Duration::from_secs(13));
}

/// One of two servers stood idle for a second, because the other had locked what both had seen.
#[tokio::test(start_paused = true)]
async fn a_replica_that_found_fewer_jobs_than_it_has_room_for_looks_again() {
    let (_permits, answer) = held();
    let replicas = Replicas::new(false, answer);
    let (full, second) = (replicas.start(1), replicas.start(9));
    full.registered().await;
    let _running = full.fixture.submit().await;
    let begun = async |calls: usize| {
        let since = Instant::now();
        while replicas.models.all_calls() < calls {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        since.elapsed()
    };
    begun(1).await;
    let _found_by_a_look = full.fixture.submit().await;
    begun(2).await;
    let _found_by_the_next = full.fixture.submit().await;
    let took = begun(3).await;
    assert!(took < Duration::from_millis(50), "{took:?}");
    drop(second);
}
