//! How models are asked, seen from outside: what a run says of settings that were refused and of
//! long waits.

use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use crate::support::{Ended, flowmill, words};

/// Two nodes, one of which asks for temperature 0.
const WORKFLOW: &str = r#"
schema_version: "1.0"
flow: {name: asking}
state:
  fields:
    name: {type: str, required: true}
    greeting: {type: str}
    again: {type: str}
nodes:
  - {id: greet, prompt: "Greet {name}", output_schema: {type: str}, outputs: [greeting], llm: {temperature: 0}}
  - {id: repeat, prompt: "Again {greeting}", output_schema: {type: str}, outputs: [again], llm: {temperature: 0.7}}
edges:
  - {from: START, to: greet}
  - {from: greet, to: repeat}
  - {from: repeat, to: END}
"#;

/// The events of a run, one of its own kind after another.
fn events(model: &FakeModel, workflow: &str, options: &str) -> Vec<Value> {
    let project = TempProject::with_file("asking.yaml", workflow);
    let line = format!("run asking.yaml -i name=Ada --model openai/m --events {options}");
    let mut command = flowmill(project.root(), words(&line));
    let ended = Ended::of(command.env("OPENAI_BASE_URL", model.base_url())).exits(0);
    let lines = ended.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("an event is JSON"))
        .collect()
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let of_kind = events.iter().filter(|event| event["event"] == kind);
    of_kind.collect()
}

#[test]
fn a_refused_temperature_zero_is_told_and_the_other_nodes_temperature_stays() {
    let model = FakeModel::answering(|request| {
        if request.body["temperature"] == json!(0.0) {
            let message = "Invalid params: temperature must be in range (0, +inf)";
            return Reply::status(422).error_body(json!({"error": {"message": message}}));
        }
        Reply::json(json!({"result": "Hi"}))
    });
    let events = events(&model, WORKFLOW, "");
    let warnings = of_kind(&events, "node_warning");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["node"], "greet");
    assert_eq!(
        warnings[0]["message"],
        "openai/m refuses `temperature: 0`; it was asked with 0.01 instead"
    );
    let sent: Vec<Value> = model
        .requests()
        .iter()
        .map(|request| request.body["temperature"].clone())
        .collect();
    assert_eq!(sent, [json!(0.0), json!(0.01), json!(0.7)]);
}

#[test]
fn a_retry_after_of_a_day_is_cut_to_what_the_operator_allows() {
    let model = FakeModel::start();
    let limited = || {
        let message = "Rate limit reached on tokens per day";
        let error = json!({"error": {"message": message}});
        Reply::status(429).error_body(error).retry_after(86_400)
    };
    model.script([limited(), limited()]);
    let events = events(&model, WORKFLOW, "--max-retry-after 10ms");
    let retried = of_kind(&events, "node_retried");
    assert_eq!(retried.len(), 2, "{retried:?}");
    for event in retried {
        let reason = event["reason"].as_str().expect("a reason");
        assert!(reason.contains("it asks to wait 86400 s"), "{reason}");
        assert!(event["wait_ms"].as_u64().expect("a wait") <= 11, "{event}");
    }
}

#[test]
fn field_names_that_a_provider_refuses_work_all_the_same() {
    let model = FakeModel::answering(|request| {
        let schema = request.schema().expect("a schema");
        let names = schema["properties"].as_object().expect("properties").keys();
        if !names.clone().all(|name| name.is_ascii()) {
            let message = "properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'";
            return Reply::status(400).error_body(json!({"error": {"message": message}}));
        }
        Reply::json(names.map(|name| (name.clone(), json!("Hi"))).collect())
    });
    let project = TempProject::with_file(
        "names.yaml",
        r#"
schema_version: "1.0"
flow: {name: names}
state:
  fields:
    name: {type: str, required: true}
    grüße: {type: str}
    other: {type: str}
nodes:
  - id: greet
    prompt: "Greet {name}"
    output_schema: {type: object, fields: [{name: grüße, type: str}, {name: other, type: str}]}
    outputs: [grüße, other]
edges: [{from: START, to: greet}, {from: greet, to: END}]
"#,
    );
    let line = "run names.yaml -i name=Ada --model openai/m --format json";
    let mut command = flowmill(project.root(), words(line));
    let ended = Ended::of(command.env("OPENAI_BASE_URL", model.base_url())).exits(0);
    let answer: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        answer["outputs"],
        json!({"name": "Ada", "grüße": "Hi", "other": "Hi"})
    );
}

#[test]
fn an_address_that_can_only_be_a_mistake_is_refused_at_the_start() {
    for (base, part) in [
        ("127.0.0.1:8080/v1", "write `http://127.0.0.1:8080/v1`"),
        ("http:///v1", "names no host"),
        ("http://127.0.0.1:1/v1#x", "has a fragment"),
        (
            "https://a.openai.azure.com/openai/deployments/x",
            "add `?api-version=",
        ),
    ] {
        let project = TempProject::with_file("asking.yaml", WORKFLOW);
        let line = "run asking.yaml -i name=Ada --model openai/m";
        let mut command = flowmill(project.root(), words(line));
        command.env("OPENAI_BASE_URL", base);
        Ended::of(command.env("OPENAI_API_KEY", "k"))
            .exits(5)
            .says(&[part]);
    }
}
