//! The shared cases: every `runs` entry of every valid workflow, with its scripted replies.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use engine::observer::NoObserver;
use engine::outcome::{Failure, Outcome};
use engine::plan::Plan;
use engine::progress::NoCheckpoint;
use engine::run::{Environment, Limits, Start, run};
use lang::fault::Fault;
use llm::chat::{ChatReply, ChatRequest, Delta};
use llm::model::{ChatModel, ModelSpec, Models};
use llm::scripted::Scripted;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::fixture::{TestHost, plan_of_file};

/// Cases whose runs need a part that this version checks but does not execute: they have to end
/// with `not_supported` and a message that names the part, before any call.
const NOT_SUPPORTED: &[(&str, &str)] = &[
    ("code_augmented_assign", "code (node"),
    ("code_eval", "code (node"),
    ("code_exception", "code (node"),
    ("code_import", "code (node"),
    ("code_no_result", "code (node"),
    ("code_no_sandbox_values", "code (node"),
    ("code_open", "code (node"),
    ("code_print", "code (node"),
    ("code_state_prefix", "code (node"),
    ("code_sum", "code (node"),
    ("code_text_input", "code (node"),
    ("code_timeout", "code (node"),
    ("code_wrong_type", "code (node"),
    ("ex_number_pipeline", "code (node"),
    ("node_tool_missing_key", "tools (node"),
    ("node_tool_string_runs", "tools (node"),
];

/// Cases with integers beyond 64 bits, which are refused when they are read rather than kept
/// exactly as the case has it (the language allows either).
const INTEGERS_REFUSED: &[&str] = &["prompt_render_ints"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases")
}

#[tokio::test(start_paused = true)]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
async fn every_run_of_every_case_ends_as_expected() {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        eprintln!(
            "skipped: there are no shared cases at {}",
            folder().display()
        );
        return;
    };
    let mut wrong = Vec::new();
    let mut runs = 0;
    for entry in entries {
        let case = entry.unwrap().path();
        let id = case.file_name().unwrap().to_string_lossy().into_owned();
        let Some(expect) = expectations(&id, &case) else {
            continue;
        };
        if expect["valid"] != true {
            continue;
        }
        let file = case.join(expect["file"].as_str().unwrap());
        let plan = plan_of_file(
            &file.to_string_lossy(),
            &std::fs::read_to_string(&file).unwrap(),
        );
        for (number, entry) in expect["runs"].as_array().into_iter().flatten().enumerate() {
            runs += 1;
            let seen = observe(&plan, entry).await;
            let expected = match NOT_SUPPORTED.iter().find(|(known, _)| *known == id) {
                Some((_, part)) => json!({"code": "not_supported", "part": part, "calls": 0}),
                None => entry["expect"].clone(),
            };
            wrong.extend(
                differences(&expected, &seen)
                    .into_iter()
                    .map(|what| format!("{id}, run {number}: {what}")),
            );
        }
    }
    assert!(
        runs > 100,
        "only {runs} runs were found in {}",
        folder().display()
    );
    assert!(
        wrong.is_empty(),
        "{} of {runs} runs:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The case's `expect.json`, unless it holds integers that are refused.
fn expectations(id: &str, case: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(case.join("expect.json")).unwrap();
    let refused = INTEGERS_REFUSED.contains(&id);
    match lang::json::read(&text) {
        Ok(expect) => {
            assert!(!refused, "{id} holds no integer beyond 64 bits");
            Some(expect)
        }
        Err(lang::json::Error::IntegersTooLarge { .. }) if refused => None,
        Err(error) => panic!("{id}: {error}"),
    }
}

/// What a run did.
struct Seen {
    ending: Ending,
    calls: Vec<(ChatRequest, ModelSpec)>,
}

enum Ending {
    BadInputs(Vec<Fault>),
    Completed(Value),
    Failed(Failure),
}

async fn observe(plan: &Arc<Plan>, entry: &Value) -> Seen {
    let inputs = entry["inputs"].as_object().unwrap();
    let models = Recorded {
        models: Arc::new(Scripted::parse(&entry["script"].to_string()).unwrap()),
        calls: Arc::default(),
    };
    let calls = models.calls.clone();
    let ending = match plan.workflow().accept_inputs(inputs) {
        Err(faults) => Ending::BadInputs(faults),
        Ok(state) => {
            let environment = Environment {
                models: Arc::new(models),
                host: Arc::new(TestHost::ticking()),
                observer: Arc::new(NoObserver),
                checkpoint: Arc::new(NoCheckpoint),
            };
            let start = Start::Fresh(state);
            let finished = run(
                plan,
                start,
                Limits::default(),
                &environment,
                CancellationToken::new(),
            )
            .await
            .unwrap();
            match finished.outcome {
                Outcome::Completed { outputs } => {
                    Ending::Completed(Value::Object(Arc::unwrap_or_clone(outputs)))
                }
                Outcome::Failed(failure) => Ending::Failed(failure),
                Outcome::Cancelled => panic!("nobody cancelled it"),
            }
        }
    };
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    Seen { ending, calls }
}

/// What is not as the case says.
fn differences(expected: &Value, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, expected: &Value, seen: Value| {
        if *expected != seen {
            wrong.push(format!("{what} should be {expected}, but is {seen}"));
        }
    };
    match &seen.ending {
        Ending::Completed(outputs) => {
            compare("ok", &expected["ok"], json!(true));
            compare("final", &expected["final"], outputs.clone());
        }
        Ending::BadInputs(faults) => {
            compare("code", &expected["code"], json!("input_invalid"));
            compare("phase", &expected["phase"], json!("state_initialization"));
            let faults: Vec<_> = faults
                .iter()
                .map(|fault| json!([fault.dotted_path(), fault.kind.as_str()]))
                .collect();
            compare("faults", &expected["faults"], json!(faults));
        }
        Ending::Failed(failure) => {
            compare(
                &format!("code ({})", failure.message),
                &expected["code"],
                json!(failure.code),
            );
            if let Some(node) = expected.get("node") {
                compare("node", node, json!(failure.node));
            }
            let named = ["field", "metric"]
                .map(|key| expected[key].as_str().map(|name| format!("`{name}`")));
            let part = expected["part"].as_str().map(str::to_owned);
            for word in named.into_iter().flatten().chain(part) {
                let found = failure.message.contains(&word);
                compare(
                    &format!("whether `{}` mentions {word}", failure.message),
                    &json!(true),
                    json!(found),
                );
            }
        }
    }
    match &expected["calls"] {
        Value::Array(calls) => wrong.extend(call_differences(expected, calls, &seen.calls)),
        Value::Number(count) => compare("number of calls", &json!(count), json!(seen.calls.len())),
        _ => {}
    }
    wrong
}

fn call_differences(
    expected: &Value,
    calls: &[Value],
    seen: &[(ChatRequest, ModelSpec)],
) -> Vec<String> {
    let unordered = |node: &Value| {
        expected["unordered"]
            .as_array()
            .is_some_and(|nodes| nodes.contains(node))
    };
    let mut calls = calls.to_vec();
    let mut seen: Vec<Value> = seen
        .iter()
        .map(|(request, spec)| described(request, spec))
        .collect();
    for list in [&mut calls, &mut seen] {
        // Calls whose order is free come last, in an order of their own.
        list.sort_by_key(|call| {
            unordered(&call["node"]).then(|| format!("{}{}", call["node"], call["prompt"]))
        });
    }
    let mut wrong = Vec::new();
    if calls.len() != seen.len() {
        wrong.push(format!(
            "there should be {} calls, but there are {}",
            calls.len(),
            seen.len()
        ));
    }
    for (expected, seen) in calls.iter().zip(&seen) {
        let prompt = seen["prompt"].as_str().unwrap_or_default();
        let prompt_fits = match expected["prompt_prefix"].as_str() {
            Some(prefix) => prompt.starts_with(prefix) && prompt != prefix,
            None => expected["prompt"] == prompt,
        };
        let model_fits = expected.get("llm").is_none_or(|llm| *llm == seen["llm"]);
        if expected["node"] != seen["node"] || !prompt_fits || !model_fits {
            wrong.push(format!("a call should be {expected}, but is {seen}"));
        }
    }
    wrong
}

fn described(request: &ChatRequest, spec: &ModelSpec) -> Value {
    json!({
        "node": &*request.label,
        "prompt": request.messages[0].text(),
        "llm": {
            "provider": spec.provider,
            "model": spec.model,
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "api_base": spec.api_base,
        },
    })
}

type Calls = Arc<Mutex<Vec<(ChatRequest, ModelSpec)>>>;

/// Models that keep what they were asked.
#[derive(Debug)]
struct Recorded {
    models: Arc<dyn Models>,
    calls: Calls,
}

impl Models for Recorded {
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, llm::Error> {
        let model = self.models.find(spec)?;
        Ok(Arc::new(RecordedModel {
            model,
            spec: spec.clone(),
            calls: self.calls.clone(),
        }))
    }

    fn is_sequential(&self) -> bool {
        self.models.is_sequential()
    }
}

#[derive(Debug)]
struct RecordedModel {
    model: Arc<dyn ChatModel>,
    spec: ModelSpec,
    calls: Calls,
}

#[async_trait]
impl ChatModel for RecordedModel {
    fn name(&self) -> &str {
        self.model.name()
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, llm::Error> {
        self.calls
            .lock()
            .unwrap()
            .push((request.clone(), self.spec.clone()));
        self.model.chat(request, on_delta).await
    }
}
