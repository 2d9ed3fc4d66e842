use std::sync::Arc;
use std::time::Duration;

use jobs::job::Status;
use jobs::memory::MemoryStore;
use service::Settings;
use service::submission::{RunRequest, SubmitError};

use crate::fixture::{Answer, Fixture, load, problem_code, request};

fn one_at_a_time() -> Settings {
    Settings {
        max_running: 1,
        ..Settings::default()
    }
}

fn slowly(settings: Settings) -> Fixture {
    Fixture::with(Arc::new(MemoryStore::default()), settings, |_, _| {
        Answer::After(Duration::from_secs(10), "done")
    })
}

#[tokio::test(start_paused = true)]
async fn more_jobs_than_slots_run_one_after_the_other_oldest_first() {
    let fixture = slowly(one_at_a_time());
    let mut accepted = Vec::new();
    for _ in 0..4 {
        accepted.push(fixture.submit().await);
    }
    let mut started = Vec::new();
    for handle in &accepted {
        let job = fixture.ended(handle).await;
        assert_eq!(job.status, Status::Completed);
        started.push(job.started_at.unwrap());
    }
    assert!(
        started.is_sorted_by(|earlier, later| later.duration_since(*earlier).as_secs() >= 20),
        "{started:?}"
    );
    assert_eq!(fixture.models.calls("a"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses() {
    let fixture = slowly(Settings {
        max_queued: Some(1),
        ..one_at_a_time()
    });
    let first = fixture.submit().await;
    let second = fixture.submit().await;
    let refused = fixture.service.submit(&fixture.workflow, request()).await;
    assert!(
        matches!(refused, Err(SubmitError::QueueFull)),
        "{refused:?}"
    );
    for accepted in [first, second] {
        assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_job_that_still_waits() {
    let fixture = Fixture::with(Arc::new(MemoryStore::default()), one_at_a_time(), |_, _| {
        Answer::Never
    });
    let running = fixture.submit().await;
    let limited = RunRequest {
        deadline: Some(Duration::from_secs(5)),
        ..request()
    };
    let waiting = fixture
        .service
        .submit(&fixture.workflow, limited)
        .await
        .unwrap();
    let job = fixture
        .service
        .wait(&waiting, Duration::from_secs(8))
        .await
        .expect("its deadline has passed");
    assert_eq!(
        (job.status, problem_code(&job).as_str()),
        (Status::Failed, "deadline_exceeded")
    );
    assert_eq!(fixture.models.calls("a"), 1);
    assert_eq!(fixture.status(running.id).await, Status::Running);
}

#[tokio::test(start_paused = true)]
async fn the_servers_deadline_holds_for_those_that_ask_for_none() {
    let settings = Settings {
        default_deadline: Some(Duration::from_secs(7)),
        ..Settings::default()
    };
    let fixture = Fixture::with(Arc::new(MemoryStore::default()), settings, |_, _| {
        Answer::Never
    });
    assert_eq!(problem_code(&fixture.run().await), "deadline_exceeded");
}

#[tokio::test(start_paused = true)]
async fn thousands_of_runs_are_in_flight_at_once() {
    let fixture = slowly(Settings::default());
    let mut accepted = Vec::new();
    for _ in 0..2_000 {
        accepted.push(fixture.submit().await);
    }
    let begun = tokio::time::Instant::now();
    for handle in &accepted {
        assert_eq!(fixture.ended(handle).await.status, Status::Completed);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(25),
        "two calls of ten seconds each: {:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_of_one_workflow_leaves_another_its_turn() {
    let settings = Settings {
        max_running: 4,
        ..Settings::default()
    };
    let fixture = slowly(settings);
    let mut long = Vec::new();
    for _ in 0..100 {
        long.push(fixture.submit().await);
    }
    let other = Arc::new(load(
        "schema_version: \"1.0\"\nflow: {name: other}\nstate: {fields: {topic: {type: str}, a: {type: str, default: \"\"}}}\n\
         nodes:\n  - {id: a, prompt: x, output_schema: {type: str}, outputs: [a]}\n\
         edges: [{from: START, to: a}, {from: a, to: END}]\n",
    ));
    let mut late = Vec::new();
    for _ in 0..4 {
        late.push(fixture.service.submit(&other, request()).await.unwrap());
    }
    for accepted in &late {
        let job = fixture.ended(accepted).await;
        let waited = job.started_at.unwrap().duration_since(job.created_at);
        assert!(waited.as_secs() <= 50, "{waited}");
    }
    for accepted in &long {
        assert_eq!(fixture.ended(accepted).await.status, Status::Completed);
    }
}
