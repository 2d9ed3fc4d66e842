use std::sync::Arc;

use jobs::job::Status;
use jobs::memory::MemoryStore;
use jobs::store::{CancelRequested, Error};
use service::Settings;
use tokio::sync::Semaphore;

use crate::fixture::{Answer, Fixture, HOUR, kinds, request};

#[tokio::test(start_paused = true)]
async fn a_running_job_is_stopped_and_its_model_call_aborted() {
    let fixture = Fixture::new(|_, _| Answer::Never);
    let accepted = fixture.submit().await;
    fixture.models.next_call().await;
    assert_eq!(
        fixture.service.cancel(accepted.id).await.unwrap(),
        CancelRequested::Cancelling
    );
    let job = fixture.ended(&accepted).await;
    assert_eq!(
        (job.status, &job.error, &job.problem),
        (Status::Cancelled, &None, &None)
    );
    assert_eq!(fixture.models.in_flight(), 0);
    assert_eq!(
        fixture.service.cancel(accepted.id).await.unwrap(),
        CancelRequested::Ended(Status::Cancelled)
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiting_job_never_starts() {
    let settings = Settings {
        max_running: 1,
        ..Settings::default()
    };
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let fixture = Fixture::with(Arc::new(MemoryStore::default()), settings, move |_, _| {
        Answer::Held(held.clone(), "done")
    });
    let running = fixture.submit().await;
    fixture.models.next_call().await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(fixture.submit().await);
    }
    for job in &waiting {
        assert_eq!(
            fixture.service.cancel(job.id).await.unwrap(),
            CancelRequested::Cancelled
        );
    }
    permits.add_permits(100);
    assert_eq!(fixture.ended(&running).await.status, Status::Completed);
    for job in &waiting {
        assert_eq!(fixture.ended(job).await.status, Status::Cancelled);
        assert_eq!(
            kinds(&fixture.all_events(job.id, 0).await),
            ["run_cancelled"]
        );
    }
    assert_eq!(fixture.models.calls("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ended_or_unknown_job_cannot_be_cancelled() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let job = fixture.run().await;
    assert_eq!(
        fixture.service.cancel(job.id).await.unwrap(),
        CancelRequested::Ended(Status::Completed)
    );
    let missing = jobs::job::JobId(uuid::Uuid::nil());
    assert!(matches!(
        fixture.service.cancel(missing).await,
        Err(Error::NotFound)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_and_completion_race_to_one_end() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let mut ends = [0, 0];
    for round in 0..10_000 {
        let accepted = fixture
            .service
            .submit(&fixture.workflow, request())
            .await
            .unwrap();
        for _ in 0..round % 20 {
            tokio::task::yield_now().await;
        }
        let found = fixture.service.cancel(accepted.id).await.unwrap();
        let job = fixture.service.wait(&accepted, HOUR).await.unwrap();
        match found {
            CancelRequested::Ended(status) => assert_eq!(job.status, status),
            CancelRequested::Cancelling => {
                assert!(matches!(job.status, Status::Cancelled | Status::Completed));
            }
            CancelRequested::Cancelled => assert_eq!(job.status, Status::Cancelled),
        }
        assert_eq!(
            fixture.service.get(job.id).await.unwrap().as_ref(),
            Some(&job)
        );
        let events = fixture.all_events(job.id, 0).await;
        let last = if job.status == Status::Cancelled {
            "run_cancelled"
        } else {
            "run_completed"
        };
        assert_eq!(events.iter().filter(|event| event.is_final()).count(), 1);
        assert_eq!(events.last().unwrap().kind, last);
        ends[usize::from(job.status == Status::Cancelled)] += 1;
    }
    assert!(
        ends.iter().all(|times| *times > 0),
        "the race was never close: {ends:?}"
    );
}
