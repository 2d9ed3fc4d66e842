//! Forgetting jobs that ended.

use std::sync::Arc;
use std::time::Duration;

use jobs::job::{JobId, Status};
use jobs::memory::MemoryStore;
use jobs::store::{CancelRequested, JobStore};
use service::{Settings, UNREAD_KEPT};

use crate::fixture::{Answer, Fixture, HOUR, request};

fn keeping(retention: Duration) -> (Arc<MemoryStore>, Settings) {
    let settings = Settings {
        retention,
        ..Settings::default()
    };
    (Arc::new(MemoryStore::default()), settings)
}

async fn is_kept(store: &MemoryStore, id: JobId) -> bool {
    store.get(id).await.unwrap().is_some()
}

/// Lets what is due happen.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

const MOMENT: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn ended_jobs_are_forgotten_after_the_retention() {
    let (store, settings) = keeping(Duration::from_secs(600));
    let fixture = Fixture::with(store, settings, |_, _| Answer::Text("done"));
    let job = fixture.run().await;
    tokio::time::advance(Duration::from_secs(500)).await;
    let missing = jobs::job::JobId(uuid::Uuid::nil());
    assert!(
        fixture
            .service
            .wait_for(missing, HOUR)
            .await
            .unwrap()
            .is_none()
    );
    assert!(fixture.service.get(job.id).await.unwrap().is_some());
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(fixture.service.get(job.id).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn many_old_jobs_are_forgotten_and_no_active_one() {
    let (store, settings) = keeping(Duration::from_secs(20));
    let fixture = Fixture::with(store.clone(), settings, |node, nth| match (node, nth) {
        ("a", 1) => Answer::Never,
        _ => Answer::Text("done"),
    });
    let active = fixture.submit().await;
    fixture.models.next_call().await;
    for _ in 0..1_500 {
        fixture.run().await;
    }
    pass(Duration::from_secs(81)).await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.ended, counts.running), (0, 1));
    assert!(is_kept(&store, active.id).await);
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_much_room_is_forgotten_before_its_time() {
    let (store, settings) = keeping(HOUR);
    let settings = Settings {
        max_store_bytes: Some(20_000),
        ..settings
    };
    let fixture = Fixture::with(store.clone(), settings, |_, _| Answer::Text("done"));
    let mut jobs = Vec::new();
    for _ in 0..100 {
        jobs.push(fixture.run().await.id);
        pass(Duration::from_millis(5)).await;
    }
    pass(Duration::from_secs(61)).await;
    let kept = store.counts().await.unwrap().ended;
    assert!((1..50).contains(&kept), "{kept}");
    assert!(is_kept(&store, jobs[99]).await && !is_kept(&store, jobs[0]).await);
}

#[tokio::test(start_paused = true)]
async fn without_retention_a_job_is_forgotten_once_its_end_was_read() {
    let (store, settings) = keeping(Duration::ZERO);
    let fixture = Fixture::with(store.clone(), settings, |_, _| {
        Answer::After(Duration::from_secs(1), "done")
    });
    let service = &fixture.service;

    let waited = fixture.submit().await;
    assert_eq!(fixture.status(waited.id).await, Status::Running);
    pass(MOMENT).await;
    assert!(is_kept(&store, waited.id).await, "it had not ended");
    assert_eq!(fixture.ended(&waited).await.status, Status::Completed);
    pass(MOMENT).await;
    assert!(!is_kept(&store, waited.id).await);

    let polled = fixture.submit().await;
    pass(Duration::from_secs(3)).await;
    assert_eq!(fixture.status(polled.id).await, Status::Completed);
    pass(MOMENT).await;
    assert!(!is_kept(&store, polled.id).await);

    let cancelled = fixture.submit().await;
    assert_eq!(
        service.cancel(cancelled.id).await.unwrap(),
        CancelRequested::Cancelling
    );
    let job = service.wait_for(cancelled.id, HOUR).await.unwrap().unwrap();
    assert_eq!(job.status, Status::Cancelled);
    pass(MOMENT).await;
    assert!(is_kept(&store, cancelled.id).await, "it was only looked at");
    service.was_read(&job);
    pass(MOMENT).await;
    assert!(!is_kept(&store, cancelled.id).await);
}

#[tokio::test(start_paused = true)]
async fn without_retention_an_end_that_nobody_reads_waits_for_a_while() {
    let (store, settings) = keeping(Duration::ZERO);
    let fixture = Fixture::with(store.clone(), settings, |_, _| Answer::Text("done"));
    let accepted = fixture
        .service
        .submit(&fixture.workflow, request())
        .await
        .unwrap();
    pass(MOMENT).await;
    tokio::time::advance(UNREAD_KEPT / 2).await;
    pass(Duration::from_secs(61)).await;
    assert!(is_kept(&store, accepted.id).await);
    tokio::time::advance(UNREAD_KEPT / 2).await;
    pass(Duration::from_secs(61)).await;
    assert!(!is_kept(&store, accepted.id).await);
}
