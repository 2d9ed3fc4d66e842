//! What is stored of a run on its way, and that it is enough to go on.

use std::sync::Arc;
use std::time::Duration;

use jobs::job::Status;
use serde_json::{Value, json};
use service::Settings;
use service::catalog::LoadedWorkflow;
use service::submission::RunRequest;

use crate::fixture::{Answer, FakeModels, Fixture, HOUR, SharedStore, TestHost, inputs, load};

/// `first`, then `each` over the items, then `last`.
fn fan_out() -> LoadedWorkflow {
    load(
        "schema_version: \"1.0\"\nflow: {name: wide}\nstate:\n  fields:\n    items: {type: list, required: true}\n    \
         start: {type: str, default: \"\"}\n    one: {type: str, default: \"\"}\n    all: {type: list, default: []}\n    \
         end: {type: str, default: \"\"}\nnodes:\n  - {id: first, prompt: x, output_schema: {type: str}, outputs: [start]}\n  \
         - {id: each, prompt: \"{_parallel_item}\", output_schema: {type: str}, outputs: [one]}\n  \
         - {id: last, prompt: y, output_schema: {type: str}, outputs: [end]}\nedges:\n  - {from: START, to: first}\n  \
         - {from: first, parallel: {items_field: items, target_node: each, collect_field: all, max_items: 10000}}\n  - {from: each, to: last}\n  \
         - {from: last, to: END}\n",
    )
}

fn over(items: usize) -> RunRequest {
    RunRequest {
        inputs: inputs(json!({"items": (0..items).collect::<Vec<_>>()})),
        ..RunRequest::default()
    }
}

fn four_at_once() -> Settings {
    Settings {
        fan_out: 4,
        ..Settings::default()
    }
}

#[tokio::test(start_paused = true)]
async fn steps_and_items_are_saved_by_their_events() {
    let store = Arc::new(SharedStore::default());
    let fixture = Fixture::with(store.clone(), four_at_once(), |_, _| Answer::Text("done"));
    let workflow = Arc::new(fan_out());
    let accepted = fixture.service.submit(&workflow, over(10)).await.unwrap();
    assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
    assert_eq!(
        store.checkpoints(),
        (0, 11),
        "each execution but the last, which is saved with the end"
    );
}

/// Runs a fan-out whose process stops when so many of its items are done, and again to its end.
async fn stopped_and_resumed(items: usize, done: usize) -> Arc<SharedStore> {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let models = FakeModels::new(move |node, nth| match node {
        "each" if nth > done && nth <= done + 4 => Answer::Never,
        _ => Answer::Text("done"),
    });
    let fixture = || Fixture::on(store.clone(), host.clone(), four_at_once(), models.clone());
    let first = fixture();
    let workflow = Arc::new(fan_out());
    let accepted = first.service.submit(&workflow, over(items)).await.unwrap();
    let waited = first.service.wait(&accepted, Duration::from_secs(9)).await;
    assert_eq!(waited, None);
    assert_eq!(models.calls("each"), done + 4);
    first.service.drain(Duration::ZERO).await;

    let second = fixture();
    let job = second.service.wait_for(accepted.id, HOUR).await;
    let job = job.unwrap().unwrap();
    assert_eq!((job.status, job.attempts), (Status::Completed, 1));
    assert_eq!(
        (
            models.calls("first"),
            models.calls("each"),
            models.calls("last")
        ),
        (1, items + 4, 1),
        "only the calls in flight are made again"
    );
    let usage: Value = job.usage.unwrap().read().unwrap();
    assert_eq!(usage["llm_calls"], items + 2);
    let outputs: Value = job.outputs.unwrap().read().unwrap();
    assert_eq!(outputs["all"], json!(vec!["done"; items]));
    store
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_goes_on_where_it_stopped() {
    for done in 0..=6 {
        let store = stopped_and_resumed(10, done).await;
        assert_eq!(
            store.checkpoints().0,
            1,
            "{done} done: by the second process"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn more_items_than_a_store_keeps_events_are_not_done_again() {
    let store = stopped_and_resumed(6_000, 5_500).await;
    let (whole, _) = store.checkpoints();
    assert!((4..=8).contains(&whole), "{whole} times the whole progress");
}
