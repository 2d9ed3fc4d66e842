use jobs::job::Status;
use serde_json::{Value, json};
use service::runs::RunRequest;
use service::{RetryError, RetryFrom};

use crate::fixture::{Answer, Fixture, inputs, kinds, output, request};

/// Node `b` fails the first time it is asked.
fn failing_once() -> Fixture {
    Fixture::new(|node, nth| match (node, nth) {
        ("b", 1) => Answer::Refused,
        ("a", _) => Answer::Text("one"),
        _ => Answer::Text("two"),
    })
}

#[tokio::test(start_paused = true)]
async fn completed_nodes_are_not_paid_for_again() {
    let fixture = failing_once();
    let failed = fixture.run().await;
    assert_eq!(failed.status, Status::Failed);
    let accepted = fixture
        .service
        .retry(failed.id, RetryFrom::Failed)
        .await
        .unwrap();
    let job = fixture.ended(&accepted).await;
    assert_eq!(
        (job.status, job.retried_from),
        (Status::Completed, Some(failed.id))
    );
    assert_eq!(
        (output(&job, "a"), output(&job, "b")),
        (json!("one"), json!("two"))
    );
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (1, 2)
    );
    assert_eq!(
        job.usage.as_ref().unwrap().read::<Value>().unwrap()["llm_calls"],
        1
    );
    let events = fixture.all_events(job.id, 0).await;
    assert_eq!(
        kinds(&events),
        [
            "run_started",
            "node_started",
            "node_completed",
            "run_completed"
        ]
    );
    assert_eq!(events[0].id, Some(1));
    assert_eq!(fixture.service.get(failed.id).await.unwrap(), Some(failed));
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_first_node_failed_begins_at_the_start() {
    let fixture = Fixture::new(|node, nth| match (node, nth) {
        ("a", 1) => Answer::Refused,
        _ => Answer::Text("done"),
    });
    let failed = fixture.run().await;
    let accepted = fixture
        .service
        .retry(failed.id, RetryFrom::Failed)
        .await
        .unwrap();
    assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_can_begin_at_any_node() {
    let fixture = failing_once();
    let failed = fixture.run().await;
    let accepted = fixture
        .service
        .retry(failed.id, RetryFrom::Node("a".into()))
        .await
        .unwrap();
    assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (2, 2)
    );
    let accepted = fixture
        .service
        .retry(accepted.id, RetryFrom::Node("b".into()))
        .await
        .unwrap();
    let job = fixture.ended(&accepted).await;
    assert_eq!(
        (output(&job, "a"), job.status),
        (json!("one"), Status::Completed)
    );
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (2, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_inputs_labels_owner_and_deadline() {
    let fixture = failing_once();
    let request = RunRequest {
        metadata: Some(inputs(json!({"team": "x"}))),
        deadline: Some(std::time::Duration::from_secs(100)),
        owner: Some("ann".into()),
        ..request()
    };
    let accepted = fixture
        .service
        .submit(&fixture.workflow, request)
        .await
        .unwrap();
    let failed = fixture.ended(&accepted).await;
    tokio::time::advance(std::time::Duration::from_secs(1_000)).await;
    let accepted = fixture
        .service
        .retry(failed.id, RetryFrom::Failed)
        .await
        .unwrap();
    let job = fixture.ended(&accepted).await;
    assert_eq!(
        (job.status, output(&job, "topic")),
        (Status::Completed, json!("bees"))
    );
    assert_eq!(
        (&job.metadata, &job.owner),
        (&failed.metadata, &failed.owner)
    );
    assert_eq!(
        job.deadline
            .unwrap()
            .duration_since(job.created_at)
            .as_secs(),
        100
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_repeated_is_refused() {
    let fixture = Fixture::new(|node, _| {
        if node == "b" {
            Answer::Never
        } else {
            Answer::Text("done")
        }
    });
    let active = fixture.submit().await;
    let refused = fixture.service.retry(active.id, RetryFrom::Failed).await;
    assert!(matches!(refused, Err(RetryError::Active)), "{refused:?}");
    let missing = jobs::job::JobId(uuid::Uuid::nil());
    assert!(matches!(
        fixture.service.retry(missing, RetryFrom::Failed).await,
        Err(RetryError::NotFound)
    ));

    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let completed = fixture.run().await;
    let refused = fixture.service.retry(completed.id, RetryFrom::Failed).await;
    assert!(
        matches!(refused, Err(RetryError::NothingFailed)),
        "{refused:?}"
    );
    let refused = fixture
        .service
        .retry(completed.id, RetryFrom::Node("z".into()))
        .await;
    assert!(
        matches!(&refused, Err(RetryError::UnknownNode(node)) if node == "z"),
        "{refused:?}"
    );
}
