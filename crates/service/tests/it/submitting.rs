use std::sync::Arc;
use std::time::Duration;

use jobs::job::Status;
use jobs::memory::{Limits, MemoryStore};
use lang::fault::{Fault, PathSegment};
use lang::json::LargeIntegers;
use serde_json::{Value, json};
use service::Settings;
use service::submission::{RunRequest, SubmitError};
use tokio::sync::Semaphore;

use crate::fixture::{Answer, Fixture, HOUR, inputs, load, output, problem_code, request};

#[tokio::test(start_paused = true)]
async fn a_run_completes_with_its_whole_state() {
    let fixture = Fixture::new(|node, _| Answer::Text(if node == "a" { "one" } else { "two" }));
    let job = fixture.run().await;
    assert_eq!(job.status, Status::Completed);
    assert_eq!(
        job.outputs.as_ref().unwrap().read::<Value>().unwrap(),
        json!({"topic": "bees", "numbers": [], "ratio": 0.5, "a": "one", "b": "two"})
    );
    assert_eq!(
        job.usage.as_ref().unwrap().read::<Value>().unwrap()["llm_calls"],
        2
    );
    assert_eq!(fixture.service.get(job.id).await.unwrap(), Some(job));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_outlasts_the_wait_goes_on_once() {
    let minute = Duration::from_secs(60);
    let fixture = Fixture::new(move |_, _| Answer::After(minute, "done"));
    let accepted = fixture.submit().await;
    assert_eq!(
        fixture
            .service
            .wait(&accepted, Duration::from_secs(30))
            .await,
        None
    );
    assert_eq!(fixture.status(accepted.id).await, Status::Running);
    let job = fixture
        .service
        .wait_for(accepted.id, HOUR)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (job.status, output(&job, "b")),
        (Status::Completed, json!("done"))
    );
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (1, 1)
    );
    assert_eq!(job.execution_time_ms, Some(120_000));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_stop_its_run() {
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let fixture = Fixture::new(move |_, _| Answer::Held(held.clone(), "done"));
    let accepted = fixture.submit().await;
    let (service, handle) = (fixture.service.clone(), accepted.clone());
    let caller = tokio::spawn(async move { service.wait(&handle, HOUR).await });
    fixture.models.next_call().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    permits.add_permits(2);
    assert_eq!(fixture.ended(&accepted).await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_run_executes_it_and_may_leave_it() {
    let minute = Duration::from_secs(60);
    let fixture = Fixture::new(move |_, _| Answer::After(minute, "done"));
    let attend = async || {
        let (service, workflow) = (&fixture.service, &fixture.workflow);
        service
            .submit_inline(workflow, request(), HOUR)
            .await
            .unwrap()
    };
    let at_its_end = fixture.service.wait_inline(attend().await, HOUR).await;
    let job = at_its_end.expect("it ends within the hour");
    assert_eq!(output(&job, "b"), json!("done"));

    let (out_of_patience, gone, dropped) = (attend().await, attend().await, attend().await);
    let left = [&out_of_patience, &gone, &dropped].map(|inline| inline.accepted.clone());
    let patience = Duration::from_secs(30);
    let waited = fixture.service.wait_inline(out_of_patience, patience);
    assert_eq!(waited.await, None);
    let service = fixture.service.clone();
    let caller = tokio::spawn(async move { service.wait_inline(gone, HOUR).await });
    tokio::task::yield_now().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(dropped);
    for accepted in &left {
        let job = fixture.ended(accepted).await;
        assert_eq!(
            (job.status, output(&job, "b")),
            (Status::Completed, json!("done"))
        );
    }
    assert_eq!(
        (fixture.models.calls("a"), fixture.models.calls("b")),
        (4, 4)
    );
}

#[tokio::test(start_paused = true)]
async fn an_inline_run_can_be_cancelled() {
    let fixture = Fixture::new(|_, _| Answer::Never);
    let (service, workflow) = (&fixture.service, &fixture.workflow);
    let inline = service
        .submit_inline(workflow, request(), HOUR)
        .await
        .unwrap();
    let id = inline.accepted.id;
    let (ended, cancelled) = tokio::join!(service.wait_inline(inline, HOUR), async {
        fixture.models.next_call().await;
        service.cancel(id).await
    });
    cancelled.unwrap();
    assert_eq!(ended.unwrap().status, Status::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_job_that_takes_longer_gives_it_as_it_stands() {
    let fixture = Fixture::new(|_, _| Answer::Never);
    let accepted = fixture.submit().await;
    let job = fixture
        .service
        .wait_for(accepted.id, Duration::from_secs(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((job.status, job.outputs), (Status::Running, None));
    let missing = jobs::job::JobId(uuid::Uuid::nil());
    assert_eq!(fixture.service.wait_for(missing, HOUR).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_lost_when_the_store_forgets_at_once() {
    let store = MemoryStore::new(Limits {
        max_jobs: 0,
        ..Limits::default()
    });
    let fixture = Fixture::with(Arc::new(store), Settings::default(), |_, _| {
        Answer::Text("done")
    });
    let accepted = fixture.submit().await;
    let job = fixture.ended(&accepted).await;
    assert_eq!(output(&job, "b"), json!("done"));
    assert_eq!(fixture.service.get(job.id).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_says_why() {
    let fixture = Fixture::new(|_, _| Answer::Unreachable);
    let job = fixture.run().await;
    assert_eq!(
        (job.status, problem_code(&job).as_str()),
        (Status::Failed, "model_error")
    );
    let problem: Value = job.problem.as_ref().unwrap().read().unwrap();
    assert_eq!(
        (&problem["status"], &problem["error_source"]),
        (&json!(502), &json!("provider"))
    );
    assert_eq!(problem["job_id"], json!(job.id.to_string()));
    assert_eq!(problem["detail"].as_str(), job.error.as_deref());
    assert_eq!(job.outputs, None);
}

#[tokio::test(start_paused = true)]
async fn a_fault_inside_a_run_fails_that_run_alone() {
    let fixture = Fixture::new(|_, nth| {
        if nth == 1 {
            Answer::Panic
        } else {
            Answer::Text("done")
        }
    });
    let job = fixture.run().await;
    assert_eq!(
        (job.status, problem_code(&job).as_str()),
        (Status::Failed, "internal")
    );
    assert_eq!(
        fixture.run().await.status,
        Status::Failed,
        "node `b` asks for the first time"
    );
    assert_eq!(fixture.run().await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_run_as_failed() {
    let fixture = Fixture::new(|_, _| Answer::Never);
    let limited = RunRequest {
        deadline: Some(Duration::from_secs(5)),
        ..request()
    };
    let accepted = fixture
        .service
        .submit(&fixture.workflow, limited)
        .await
        .unwrap();
    let job = fixture.ended(&accepted).await;
    assert_eq!(
        (job.status, problem_code(&job).as_str()),
        (Status::Failed, "deadline_exceeded")
    );
    assert_eq!(job.execution_time_ms, Some(5_000));
    assert_eq!(fixture.models.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_budget_ends_a_run_as_failed() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let budget = lang::workflow::Budget {
        max_llm_calls: Some(1),
        ..Default::default()
    };
    let limited = RunRequest {
        budget,
        ..request()
    };
    let accepted = fixture
        .service
        .submit(&fixture.workflow, limited)
        .await
        .unwrap();
    assert_eq!(
        problem_code(&fixture.ended(&accepted).await),
        "budget_exceeded"
    );
    assert_eq!(fixture.models.all_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_run_is_refused_before_it_is_accepted() {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let unsupported = load(
        "schema_version: \"1.0\"\nflow: {name: searcher}\nstate: {fields: {topic: {type: str, required: true}, a: {type: str, default: \"\"}}}\n\
         nodes:\n  - {id: a, prompt: x, output_schema: {type: str}, outputs: [a], tools: [serper_search]}\n\
         edges: [{from: START, to: a}, {from: a, to: END}]\n",
    );
    let refused = fixture
        .service
        .submit(&Arc::new(unsupported), request())
        .await;
    assert!(
        matches!(&refused, Err(SubmitError::Preflight(failure)) if failure.message.contains("not supported")),
        "{refused:?}"
    );
    assert_eq!(fixture.models.all_calls(), 0);
}

/// A body with nothing but a large integer at that place.
fn too_large(path: &[PathSegment]) -> LargeIntegers {
    let integer = format!("1{}", "0".repeat(30));
    let text = path.iter().rfold(integer, |inner, segment| match segment {
        PathSegment::Key(key) => format!("{{{key:?}: {inner}}}"),
        PathSegment::Index(0) => format!("[{inner}]"),
        PathSegment::Index(_) => panic!("only the first of a list"),
    });
    large_integers(&text)
}

fn large_integers(text: &str) -> LargeIntegers {
    match lang::json::read(text) {
        Err(lang::json::Error::IntegersTooLarge { integers, .. }) => integers,
        other => panic!("{other:?}"),
    }
}

fn key(name: &str) -> PathSegment {
    PathSegment::Key(name.to_owned())
}

async fn faults_of(body: Value, large_integers: Option<LargeIntegers>) -> Vec<String> {
    let fixture = Fixture::new(|_, _| Answer::Text("done"));
    let request = RunRequest {
        inputs: inputs(body),
        large_integers,
        ..RunRequest::default()
    };
    match fixture.service.submit(&fixture.workflow, request).await {
        Err(SubmitError::Inputs(faults)) => {
            let name = |fault: &Fault| match &fault.path[0] {
                PathSegment::Key(name) => format!("{name} {}", fault.kind.as_str()),
                PathSegment::Index(index) => panic!("{index}"),
            };
            faults.iter().map(name).collect()
        }
        Ok(_) => Vec::new(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn faults_of_body_and_fields_come_together_in_the_fields_order() {
    let in_list = too_large(&[key("numbers"), PathSegment::Index(0)]);
    let check = async |body, large, expected: &[&str]| {
        assert_eq!(faults_of(body, large).await, expected);
    };
    check(json!({}), None, &["topic missing"]).await;
    check(
        json!({"topic": "x", "numbers": [1e30]}),
        Some(in_list.clone()),
        &["numbers int_parsing_size"],
    )
    .await;
    let expected = [
        "topic missing",
        "numbers int_parsing_size",
        "ratio float_type",
    ];
    check(
        json!({"numbers": [1e30], "ratio": []}),
        Some(in_list),
        &expected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_large_integer_where_none_is_read_is_no_fault() {
    let check =
        async |body, fault| assert_eq!(faults_of(body, Some(fault)).await, Vec::<String>::new());
    check(
        json!({"topic": "x", "unknown": 1e30}),
        too_large(&[key("unknown")]),
    )
    .await;
    check(
        json!({"topic": "x", "ratio": 1e30}),
        too_large(&[key("ratio")]),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_large_integer_with_a_fault_of_its_own_is_reported_once() {
    let faults = faults_of(json!({"topic": 1e30}), Some(too_large(&[key("topic")]))).await;
    assert_eq!(faults, ["topic string_type"]);
}

#[tokio::test(start_paused = true)]
async fn eighty_thousand_large_integers_are_a_thousand_faults() {
    let integer = format!("1{}", "0".repeat(30));
    let text = format!("{{\"numbers\": [{}]}}", vec![&*integer; 80_000].join(","));
    let body = json!({"topic": "x", "numbers": vec![1e30; 80_000]});
    let faults = faults_of(body, Some(large_integers(&text))).await;
    assert_eq!(faults.len(), 1_000);
}
