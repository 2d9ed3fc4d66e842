//! A sensitive value is shown nowhere: not in an event, not in a failure, not in what telemetry is
//! given. What the model is asked, what the caller is answered and what a resumption needs stays as
//! it is.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use engine::capture::Capture;
use engine::event::{EventKind, RunEvent, SealedEvent};
use engine::observer::Observer;
use engine::outcome::FailureCode;
use engine::plan::Plan;
use engine::progress::{NoCheckpoint, Progress};
use engine::run::{Environment, Limits, Start, run};
use lang::workflow::CaptureLevel;
use llm::chat::Content;
use llm::error::ErrorKind;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Answer, FakeModels, Fixture, Ran, Shared, TestHost, accepted, plan, stored};

const CANARY: &str = "canary \"7f3a\" – ünsichtbar";

/// An input, an inner field and an output are sensitive; `echo` is not and may repeat any of them.
fn workflow(extra: &str) -> Arc<Plan> {
    plan(&format!(
        "state:
  fields:
    secret: {{type: str, sensitive: true, required: true}}
    pin: {{type: int, sensitive: true, default: 7}}
    card: {{type: object, schema: {{number: {{type: str, sensitive: true}}, kind: str}}}}
    codes: {{type: 'dict[str, int]', default: {{}}}}
    echo: {{type: str, default: ''}}
nodes:
  - id: tell
    prompt: 'Tell {{secret}} with {{pin}} and {{card.number}} of {{card.kind}}'
    output_schema: {{type: str}}
    outputs: [echo]
  - id: find
    inputs: {{what: 'about {{echo}}'}}
    prompt: 'Find {{what}}'
    output_schema:
      type: object
      fields:
        - {{name: codes, type: 'dict[str, int]', sensitive: true}}
    outputs: [codes]
edges:
  - {{from: START, to: tell}}
  - {{from: tell, to: find}}
  - {{from: find, to: END}}
{extra}"
    ))
}

fn inputs() -> Value {
    json!({"secret": CANARY, "card": {"number": "canary-4711", "kind": "gold"}})
}

/// Everything of the run that others than its caller may see.
fn shown(ran: &Ran) -> String {
    let events: Vec<String> = ran
        .events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    format!("{}\n{:?}", events.join("\n"), ran.finished.masked_outputs)
}

#[track_caller]
fn assert_silent(text: &str) {
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_run_shows_nothing_sensitive_and_works_on_it_all_the_same() {
    let models = FakeModels::script([
        (
            "tell",
            vec![Answer::result(format!("I heard: {CANARY}!")).in_pieces(3)],
        ),
        (
            "find",
            vec![Answer::json(json!({"codes": {"canary-code": 1}})).in_pieces(3)],
        ),
    ]);
    let mut fixture = Fixture::new(&workflow(""), &models);
    fixture.limits.stream = true;
    let ran = fixture.run(inputs()).await;
    assert_silent(&shown(&ran));

    let outputs = ran.outputs();
    assert_eq!(outputs["secret"], CANARY);
    assert_eq!(outputs["echo"], format!("I heard: {CANARY}!"));
    assert_eq!(outputs["codes"], json!({"canary-code": 1}));
    assert_eq!(
        models.prompts(),
        [
            format!("tell: Tell {CANARY} with 7 and canary-4711 of gold"),
            format!("find: Find about I heard: {CANARY}!"),
        ]
    );
    let masked = Value::Object((*ran.finished.masked_outputs.clone().unwrap()).clone());
    assert_eq!(
        masked,
        json!({
            "secret": "[sensitive]", "pin": "[sensitive]",
            "card": {"number": "[sensitive]", "kind": "gold"},
            "codes": "[sensitive]", "echo": "I heard: [sensitive]!",
        })
    );
    // An answer that only repeats a value is streamed, masked; one that is a value is not.
    let told: Vec<(&str, &str)> = ran
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::LlmDelta { node, text, .. } => Some((&**node, text.as_str())),
            _ => None,
        })
        .collect();
    let all: String = told.iter().map(|(_, text)| *text).collect();
    assert!(told.iter().all(|(node, _)| *node == "tell"), "{told:?}");
    assert_eq!(all, r#"{"result":"I heard: [sensitive]!"}"#);
}

#[tokio::test(start_paused = true)]
async fn failures_and_retries_show_nothing_sensitive() {
    let echo = llm::Error::new(
        ErrorKind::Overloaded,
        format!("cannot answer {:?}", json!(CANARY).to_string()),
    );
    let last = llm::Error::new(
        ErrorKind::BadRequest,
        format!("refused: canary-4711, {CANARY}"),
    );
    let failing = |error: llm::Error| Answer {
        result: Err(error),
        ..Answer::text("")
    };
    let models = FakeModels::script([("tell", vec![failing(echo), failing(last)])]);
    let ran = Fixture::new(&workflow(""), &models).run(inputs()).await;
    assert_silent(&shown(&ran));
    assert_silent(&format!("{:?} {}", ran.failure(), ran.failure().problem()));
    ran.assert_failed(
        FailureCode::ModelError,
        "Node `tell`: after 2 attempts: refused: [sensitive], [sensitive]",
    );
}

#[tokio::test(start_paused = true)]
async fn a_warning_of_a_models_client_shows_nothing_sensitive() {
    let models = FakeModels::new(|call| Answer {
        warning: Some(format!("the model refuses {CANARY}")),
        ..match call.node.as_str() {
            "tell" => Answer::result("fine"),
            _ => Answer::json(json!({"codes": {}})),
        }
    });
    let ran = Fixture::new(&workflow(""), &models).run(inputs()).await;
    assert_silent(&shown(&ran));
    let warnings = ran.events.iter().filter(|event| {
        matches!(&event.kind, EventKind::NodeWarning { message, .. } if message == "the model refuses [sensitive]")
    });
    assert_eq!(warnings.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_fit_is_quoted_to_the_model_alone() {
    let models = FakeModels::script([
        ("tell", vec![Answer::result("fine")]),
        (
            "find",
            vec![
                Answer::json(json!({"codes": {"canary-key": "canary-value"}})),
                Answer::text("the canary is yellow"),
                Answer::json(json!({"codes": {"canary-key": "canary-value"}})),
            ],
        ),
    ]);
    let telemetry = Telemetry::new();
    let ran = telemetry
        .run(&workflow(""), &models, CaptureLevel::Full)
        .await;
    assert_silent(&shown(&ran));
    let failure = ran.failure();
    assert_silent(&failure.message);
    assert!(failure.message.contains("codes.[sensitive]"), "{failure:?}");
    let prompts = models.prompts();
    assert!(prompts[2].contains("canary-value") && prompts[3].contains("the canary is yellow"));
    // What telemetry would keep of those prompts while they are in flight.
    let kept = telemetry.capture();
    for prompt in &prompts {
        let (node, prompt) = prompt.split_once(": ").unwrap();
        assert_silent(&kept.prompt(node, prompt).unwrap());
    }
    for content in [
        Content::Text("the canary".into()),
        Content::Json(json!({"codes": {"canary-x": 1}})),
    ] {
        assert_silent(&kept.reply("find", &content).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_over_sensitive_items_shows_none() {
    let plan = plan(
        "state:
  fields:
    people: {type: 'list[str]', sensitive: true, required: true}
    line: {type: str, sensitive: true}
    lines: {type: 'list[str]'}
nodes:
  - {id: begin, prompt: 'Begin', output_schema: {type: 'list[str]'}, outputs: [people]}
  - {id: greet, prompt: 'Greet {_parallel_item} as {_parallel_index}', output_schema: {type: str}, outputs: [line]}
edges:
  - {from: START, to: begin}
  - {from: begin, parallel: {items_field: people, target_node: greet, collect_field: lines}}
  - {from: greet, to: END}
",
    );
    let models = FakeModels::new(|call| match call.node.as_str() {
        "begin" => Answer::result(json!(["canary-ada", "canary-bob"])),
        _ if call.prompt.contains("bob") => {
            let error =
                llm::Error::new(ErrorKind::BadRequest, "no canary-bob here, nor canary-ada");
            Answer {
                result: Err(error),
                ..Answer::text("")
            }
            .after(5)
        }
        _ => Answer::result("canary-line"),
    });
    let mut fixture = Fixture::new(&plan, &models);
    fixture.limits.stream = true;
    let ran = fixture.run(json!({"people": ["canary-old"]})).await;
    assert_silent(&shown(&ran));
    ran.assert_failed(
        FailureCode::ModelError,
        "Node `greet`: no [sensitive] here, nor [sensitive] (item 1)",
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_from_what_was_stored_and_still_hides_it() {
    let plan = workflow("");
    let models = FakeModels::script([
        ("tell", vec![Answer::result(format!("I heard {CANARY}"))]),
        (
            "find",
            vec![Answer::json(json!({"codes": {"canary-code": 1}}))],
        ),
    ]);
    let first = Fixture::new(&plan, &models).run(inputs()).await;
    // A process that died after `tell`: the events up to there, in the form in which they are
    // stored.
    let mut progress = Progress::new(plan.workflow(), accepted(&plan, &inputs()));
    for event in first.events.iter().take(3) {
        let mut kept = serde_json::to_value(SealedEvent::of(&event.kind)).unwrap();
        kept["id"] = json!(event.id);
        kept["at"] = json!(event.at);
        let event: RunEvent = serde_json::from_value(kept).unwrap();
        progress.replay(&plan, &event).unwrap();
    }
    let models = FakeModels::script([(
        "find",
        vec![Answer {
            result: Err(llm::Error::new(
                ErrorKind::BadRequest,
                format!("no {CANARY}"),
            )),
            ..Answer::text("")
        }],
    )]);
    let fixture = Fixture::new(&plan, &models);
    let ran = fixture
        .start(Start::Resume(Box::new(stored(&progress))))
        .await
        .unwrap();
    assert_eq!(
        models.prompts(),
        [format!("find: Find about I heard {CANARY}")]
    );
    assert_silent(&shown(&ran));
    ran.assert_failed(FailureCode::ModelError, "Node `find`: no [sensitive]");
}

/// Keeps what telemetry is given before the first event, and what it would make of every prompt.
#[derive(Default)]
struct Telemetry {
    capture: Mutex<Option<Arc<Capture>>>,
    events: Mutex<Vec<RunEvent>>,
}

impl Telemetry {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn capture(&self) -> Arc<Capture> {
        self.capture
            .lock()
            .unwrap()
            .clone()
            .expect("told at the start")
    }

    async fn run(
        self: &Arc<Self>,
        plan: &Plan,
        models: &Arc<FakeModels>,
        capture: CaptureLevel,
    ) -> Ran {
        let environment = Environment {
            models: Arc::new(Shared(models.clone())),
            host: Arc::new(TestHost::new()),
            observer: self.clone(),
            checkpoint: Arc::new(NoCheckpoint),
        };
        let limits = Limits {
            capture,
            ..Limits::default()
        };
        let start = Start::Fresh(accepted(plan, &inputs()));
        let finished = run(plan, start, limits, &environment, CancellationToken::new())
            .await
            .unwrap();
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        Ran { finished, events }
    }
}

impl Observer for Telemetry {
    fn observe(&self, event: &RunEvent) {
        assert!(
            self.capture.lock().unwrap().is_some(),
            "told before the first event"
        );
        self.events.lock().unwrap().push(event.clone());
    }

    fn begins(&self, capture: &Arc<Capture>) {
        *self.capture.lock().unwrap() = Some(capture.clone());
    }
}

/// Looks at the prompt while its call is in flight, as an observer of calls does.
#[tokio::test(start_paused = true)]
async fn a_prompt_in_flight_hides_values_too_short_to_be_looked_for() {
    let telemetry = Telemetry::new();
    let seen = Arc::new(Mutex::new(String::new()));
    let models = {
        let (telemetry, seen) = (telemetry.clone(), seen.clone());
        FakeModels::new(move |call| {
            let kept = telemetry.capture();
            seen.lock()
                .unwrap()
                .push_str(&kept.prompt(&call.node, &call.prompt).unwrap());
            match call.node.as_str() {
                "tell" => Answer::result("fine"),
                _ => Answer::json(json!({"codes": {}})),
            }
        })
    };
    telemetry
        .run(&workflow(""), &models, CaptureLevel::Full)
        .await;
    assert_eq!(
        *seen.lock().unwrap(),
        "Tell [sensitive] with [sensitive] and [sensitive] of goldFind about fine"
    );
}

#[tokio::test(start_paused = true)]
async fn levels_say_what_is_kept_and_the_server_has_the_last_word() {
    use CaptureLevel::{Full, Metadata, None};

    let file = |node: &str, config: &str| {
        plan(&format!(
            "state: {{fields: {{out: {{type: str}}}}}}\nnodes:\n  - {{id: ask, prompt: hi, output_schema: {{type: str}}, outputs: [out]{node}}}\n  \
             - {{id: other, prompt: hi, output_schema: {{type: str}}, outputs: [out]}}\n\
             edges:\n  - {{from: START, to: ask}}\n  - {{from: ask, to: other}}\n  - {{from: other, to: END}}\n{config}"
        ))
    };
    let check = |node: &str, config: &str, ceiling: CaptureLevel, expected: [bool; 5]| {
        let plan = file(node, config);
        let capture = Capture::new(plan.workflow().clone(), ceiling);
        let map = json!({"out": "x"});
        let map = map.as_object().unwrap();
        let kept = [
            capture.prompt("ask", "hi").is_some(),
            capture.outputs("ask", map).is_some(),
            capture.prompt("other", "hi").is_some(),
            capture.fields(map).is_some(),
            capture.keeps_artifacts(Some("ask")),
        ];
        assert_eq!(kept, expected, "{node} {config} {ceiling:?}");
    };
    let observed = |settings: &str| format!("config: {{observability: {settings}}}");
    check("", "", Full, [true; 5]);
    check("", "", Metadata, [false; 5]);
    check(
        ", capture: metadata",
        "",
        Full,
        [false, false, true, true, false],
    );
    check("", &observed("{capture: none}"), Full, [false; 5]);
    check(
        ", capture: full",
        &observed("{capture: none}"),
        Full,
        [true, true, false, false, true],
    );
    check(", capture: full", "", None, [false; 5]);
    check(
        "",
        &observed("{mlflow: {log_prompts: false}}"),
        Full,
        [false, true, false, true, true],
    );
    check(
        ", log_prompts: true",
        &observed("{mlflow: {log_prompts: false}}"),
        Full,
        [true, true, false, true, true],
    );
    check(
        ", log_artifacts: false",
        "",
        Full,
        [true, true, true, true, false],
    );
}

#[test]
fn where_nothing_is_sensitive_everything_is_lent() {
    let plan = plan(
        "state: {fields: {out: {type: str}}}\nnodes:\n  - {id: ask, prompt: hi, output_schema: {type: str}, outputs: [out]}\n\
         edges:\n  - {from: START, to: ask}\n  - {from: ask, to: END}\n",
    );
    let capture = Capture::new(plan.workflow().clone(), CaptureLevel::Full);
    assert!(matches!(
        capture.prompt("ask", "hi"),
        Some(Cow::Borrowed("hi"))
    ));
    assert!(matches!(capture.text("hi"), Cow::Borrowed("hi")));
    assert!(matches!(capture.value(&json!("hi")), Cow::Borrowed(_)));
    let text = Content::Text("hi".into());
    assert!(matches!(
        capture.reply("ask", &text),
        Some(Cow::Borrowed("hi"))
    ));
}
