use std::sync::Arc;

use jobs::job::Status;
use jobs::store::Filter;
use serde_json::json;
use service::submission::{RunRequest, SubmitError};
use tokio::sync::Semaphore;

use crate::fixture::{Answer, Fixture, HOUR, chain, inputs, with_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_requests_with_one_key_are_one_run_and_a_hundred_equal_answers() {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let fixture = Fixture::new(move |_, _| Answer::Held(held.clone(), "done"));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (service, workflow) = (fixture.service.clone(), fixture.workflow.clone());
        callers.spawn(async move {
            let accepted = service.submit(&workflow, with_key("k")).await.unwrap();
            (
                accepted.replayed,
                service.wait(&accepted, HOUR).await.unwrap(),
            )
        });
    }
    fixture.models.next_call().await;
    permits.add_permits(2);
    let answers = callers.join_all().await;
    assert_eq!(answers.iter().filter(|(replayed, _)| !replayed).count(), 1);
    assert!(
        answers
            .iter()
            .all(|(_, job)| *job == answers[0].1 && job.status == Status::Completed)
    );
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (1, 1)
    );
    assert_eq!(
        fixture
            .service
            .list(&Filter::default(), None, 200)
            .await
            .unwrap()
            .jobs
            .len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn an_ended_run_is_replayed() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let first = fixture
        .service
        .submit(&fixture.workflow, with_key("k"))
        .await
        .unwrap();
    let job = fixture.ended(&first).await;
    let again = fixture
        .service
        .submit(&fixture.workflow, with_key("k"))
        .await
        .unwrap();
    assert_eq!(
        (again.replayed, again.id, again.created_at),
        (true, first.id, first.created_at)
    );
    assert_eq!(fixture.ended(&again).await, job);
    assert_eq!(fixture.models.calls("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn inputs_are_compared_as_the_workflow_reads_them() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let submit = async |body| {
        let request = RunRequest {
            inputs: inputs(body),
            ..with_key("k")
        };
        fixture
            .service
            .submit(&fixture.workflow, request)
            .await
            .map(|accepted| accepted.replayed)
    };
    assert!(!submit(json!({"topic": "bees", "ratio": 2})).await.unwrap());
    assert!(
        submit(json!({"ratio": "2.0", "topic": "bees", "unknown": 1}))
            .await
            .unwrap()
    );
    assert!(matches!(
        submit(json!({"topic": "wasps", "ratio": 2})).await,
        Err(SubmitError::KeyReused)
    ));
    assert_eq!(
        fixture
            .service
            .list(&Filter::default(), None, 200)
            .await
            .unwrap()
            .jobs
            .len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn keys_of_other_owners_are_other_keys() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    for owner in [None, Some("ann".into()), Some("bob".into())] {
        let request = RunRequest {
            owner,
            ..with_key("k")
        };
        assert!(
            !fixture
                .service
                .submit(&fixture.workflow, request)
                .await
                .unwrap()
                .replayed
        );
    }
}

/// While two versions of a workflow are served, by two replicas or one after the other.
#[tokio::test(start_paused = true)]
async fn a_repeated_request_is_replayed_though_it_meets_another_version_of_the_workflow() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let first = fixture
        .service
        .submit(&fixture.workflow, with_key("k"))
        .await
        .unwrap();
    let job = fixture.ended(&first).await;
    fixture.service.catalog().put(chain(&["a", "b", "c"]));
    let newer = fixture.service.catalog().get("chain").unwrap();
    assert_ne!(newer.definition.hash, job.definition_hash);
    let again = fixture.service.submit(&newer, with_key("k")).await.unwrap();
    assert_eq!((again.id, again.replayed), (job.id, true));
    let mut other = with_key("k");
    other.inputs.insert("ratio".to_owned(), json!(0.25));
    assert!(matches!(
        fixture.service.submit(&newer, other).await,
        Err(SubmitError::KeyReused)
    ));
}
