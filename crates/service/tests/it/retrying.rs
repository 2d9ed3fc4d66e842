use jobs::job::Status;
use serde_json::{Value, json};
use service::submission::RunRequest;
use service::{Retry, RetryDefinition, RetryError, RetryFrom};

use crate::fixture::{Answer, Fixture, inputs, kinds, load, output, request};

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

/// Node `split` leads to `each` once per item, then `end`.
const FAN_OUT: &str = r#"
schema_version: "1.0"
flow: {name: chain}
state:
  fields:
    topic: {type: str, required: true}
    items: {type: "list[str]", default: [x, y, z]}
    split: {type: str}
    each: {type: str}
    all: {type: "list[str]", default: []}
    end: {type: str}
nodes:
  - {id: split, prompt: "split {topic}", output_schema: {type: str}, outputs: [split]}
  - {id: each, prompt: "each {_parallel_index}", output_schema: {type: str}, outputs: [each]}
  - {id: end, prompt: "end {all}", output_schema: {type: str}, outputs: [end]}
edges:
  - {from: START, to: split}
  - {from: split, parallel: {items_field: items, target_node: each, collect_field: all}}
  - {from: each, to: end}
  - {from: end, to: END}
"#;

/// A fixture that serves this workflow.
fn serving(text: &str, answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Fixture {
    let mut fixture = Fixture::new(answer);
    fixture.workflow = fixture.service.catalog().put(load(text));
    fixture
}

#[tokio::test(start_paused = true)]
async fn a_retry_from_the_target_of_a_fan_out_runs_all_of_its_items_again() {
    let fixture = serving(FAN_OUT, |_, _| Answer::Text("done"));
    let job = fixture.run().await;
    assert_eq!(job.status, Status::Completed);
    let from = RetryFrom::Node("each".into());
    let accepted = fixture.service.retry(job.id, from).await.unwrap();
    let again = fixture.ended(&accepted).await;
    assert_eq!(again.status, Status::Completed, "{again:?}");
    assert_eq!(again.outputs, job.outputs);
    let calls = ["split", "each", "end"].map(|node| fixture.models.calls(node));
    assert_eq!(calls, [1, 6, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_from_the_target_of_several_fan_outs_is_refused_with_the_nodes_to_name() {
    let two = FAN_OUT
        .replace(
            "  - {id: end,",
            "  - {id: more, prompt: \"more {all}\", output_schema: {type: str}, outputs: [split]}\n  - {id: end,",
        )
        .replace(
            "  - {from: each, to: end}",
            "  - {from: each, routes: [{condition: \"state._loop_iteration_each < 4\", to: more}, {condition: default, to: end}]}\n  \
             - {from: more, parallel: {items_field: items, target_node: each, collect_field: all}}",
        );
    let fixture = serving(&two, |_, _| Answer::Text("done"));
    let job = fixture.run().await;
    assert_eq!(job.status, Status::Completed, "{:?}", job.error);
    let from = |node: &str| RetryFrom::Node(node.to_owned());
    let refused = fixture.service.retry(job.id, from("each")).await;
    let Err(RetryError::ManyFanOuts { node, sources }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (&*node, sources),
        ("each", vec!["split".to_owned(), "more".to_owned()])
    );
    let accepted = fixture.service.retry(job.id, from("more")).await.unwrap();
    assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
}

fn as_it_is_now(from: RetryFrom) -> Retry {
    Retry {
        definition: RetryDefinition::Current,
        ..Retry::from(from)
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_can_run_the_workflow_as_it_is_now() {
    let fixture = serving(FAN_OUT, |node, nth| match (node, nth) {
        ("end", 1..=2) => Answer::Refused,
        _ => Answer::Text("done"),
    });
    let failed = fixture.run().await;
    assert_eq!(failed.status, Status::Failed);
    // Other positions, another prompt, one more node.
    let changed = FAN_OUT
        .replace("    topic:", "    new: {type: str}\n    topic:")
        .replace("end {all}", "end {all} {topic}")
        .replace(
            "  - {id: split,",
            "  - {id: after, prompt: \"after {end}\", output_schema: {type: str}, outputs: [new]}\n  - {id: split,",
        )
        .replace(
            "  - {from: end, to: END}",
            "  - {from: end, to: after}\n  - {from: after, to: END}",
        );
    fixture.service.catalog().put(load(&changed));
    let original = fixture.service.retry(failed.id, RetryFrom::Failed).await;
    let original = fixture.ended(&original.unwrap()).await;
    assert_eq!(original.definition_hash, failed.definition_hash);
    assert_eq!(original.status, Status::Failed);

    let current = as_it_is_now(RetryFrom::Failed);
    let accepted = fixture.service.retry(failed.id, current).await.unwrap();
    let job = fixture.ended(&accepted).await;
    assert_eq!(job.status, Status::Completed, "{:?}", job.error);
    assert_ne!(job.definition_hash, failed.definition_hash);
    assert_eq!(output(&job, "all"), json!(["done", "done", "done"]));
    assert_eq!(output(&job, "new"), json!("done"));
    let calls = ["split", "each", "end", "after"].map(|node| fixture.models.calls(node));
    assert_eq!(
        calls,
        [1, 3, 3, 1],
        "what had completed is not paid for again"
    );

    let from_split = as_it_is_now(RetryFrom::Node("split".into()));
    let accepted = fixture.service.retry(failed.id, from_split).await.unwrap();
    assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
    assert_eq!(fixture.models.calls("split"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_does_not_fit_the_workflow_as_it_is_now_is_refused_with_a_reason() {
    let fixture = serving(FAN_OUT, |node, _| match node {
        "end" => Answer::Refused,
        _ => Answer::Text("done"),
    });
    let failed = fixture.run().await;
    let refused = async |from: RetryFrom| {
        let refused = fixture.service.retry(failed.id, as_it_is_now(from)).await;
        match refused {
            Err(RetryError::DoesNotFit(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    let put = |text: &str| fixture.service.catalog().put(load(text));
    put(&FAN_OUT
        .replace("id: end", "id: last")
        .replace("from: end", "from: last")
        .replace("to: end}", "to: last}"));
    let reason = refused(RetryFrom::Failed).await;
    assert!(
        reason.contains("`end`") && reason.contains("`from`"),
        "{reason}"
    );
    put(&FAN_OUT.replace("topic: {type: str,", "topic: {type: int,"));
    let reason = refused(RetryFrom::Failed).await;
    assert!(
        reason.contains("inputs") && reason.contains("topic"),
        "{reason}"
    );
    fixture.service.catalog().remove("chain");
    let gone = fixture
        .service
        .retry(failed.id, as_it_is_now(RetryFrom::Failed))
        .await;
    assert!(matches!(gone, Err(RetryError::NotServed(_))), "{gone:?}");
}
