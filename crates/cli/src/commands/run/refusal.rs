//! Why a run was not started or failed: a message for people and an envelope for programs.

use engine::outcome::{self, CutOff, FailureCode};
use lang::diagnostic::render;
use lang::fault::{Fault, FaultKind};
use lang::workflow::{InitialState, Workflow};
use serde_json::{Value, json};
use service::problem::{ErrorSource, Problem};

use super::inputs::{self, Given};
use crate::failure::{Exit, Failure};
use crate::workflow_file::{CheckedFile, many};

/// Longest excerpt of a faulty value, in characters.
const EXCERPT: usize = 60;

/// Why a run was not started.
#[derive(Debug)]
pub(super) enum Refused {
    /// A reason outside the workflow itself.
    Other {
        /// Of the problem.
        code: &'static str,
        /// Of the problem.
        source: ErrorSource,
        /// For people.
        failure: Failure,
    },
    /// The file was read and has errors.
    Workflow(Box<CheckedFile>),
    /// The inputs do not fit the workflow.
    Inputs {
        /// Each fault, for programs.
        entries: Vec<Value>,
        /// For people.
        failure: Failure,
    },
    /// The workflow cannot run here, such as for want of a key.
    Preflight(outcome::Failure),
}

impl Refused {
    /// Turns a failure into a refusal.
    pub(super) fn by(code: &'static str, source: ErrorSource) -> impl Fn(Failure) -> Self {
        move |failure| Self::Other {
            code,
            source,
            failure,
        }
    }

    /// For people.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Other { failure, .. } | Self::Inputs { failure, .. } => failure,
            Self::Workflow(report) => report.refusal(),
            Self::Preflight(failure) => of_run(&failure, Exit::NotReady),
        }
    }

    /// What `--format json` prints: the keys of a run's result, null as there was no run; for a
    /// workflow with errors also the `diagnostics` that `validate` prints.
    pub(super) fn envelope(&self) -> Value {
        let mut diagnostics = None;
        let (error, problem) = match self {
            Self::Other {
                code,
                source,
                failure,
            } => {
                let problem = Problem::new(422, *code, *source, &*failure.message);
                (failure.message.clone(), json!(problem))
            }
            Self::Workflow(report) => {
                let mut found = render::json(&report.source, &report.checked.diagnostics);
                diagnostics = Some(found["diagnostics"].take());
                let message = report.refusal().message;
                let problem =
                    Problem::new(422, "workflow_invalid", ErrorSource::Workflow, &*message);
                (message, json!(problem))
            }
            Self::Inputs { entries, failure } => {
                let mut problem = json!(Problem::new(
                    422,
                    "input_invalid",
                    ErrorSource::Request,
                    &*failure.message
                ));
                problem["errors"] = json!(entries);
                (failure.message.clone(), problem)
            }
            Self::Preflight(failure) => (
                failure.message.clone(),
                json!(Problem::of_failure(failure, None)),
            ),
        };
        let mut envelope = json!({
            "status": "failed",
            "outputs": null,
            "usage": null,
            "execution_time_ms": null,
            "job_id": null,
            "error": error,
            "problem": problem,
        });
        if let Some(diagnostics) = diagnostics {
            envelope["diagnostics"] = diagnostics;
        }
        envelope
    }
}

/// Checks the inputs against the workflow and reports every fault.
pub(super) fn accept(workflow: &Workflow, given: Given) -> Result<InitialState, Refused> {
    let Given {
        mut values,
        unreadable,
    } = given;
    // Placeholders, so that an unreadable input is not also reported as missing.
    for (name, _) in &unreadable {
        values.insert(name.clone(), Value::Null);
    }
    let is_unreadable = |fault: &Fault| {
        fault.path.first().is_some_and(|first| {
            unreadable
                .iter()
                .any(|(name, _)| *name == first.to_string())
        })
    };
    let faults = match workflow.accept_inputs(&values) {
        Ok(state) if unreadable.is_empty() => return Ok(state),
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    };
    let mut faults: Vec<Fault> = faults
        .into_iter()
        .filter(|fault| !is_unreadable(fault))
        .collect();
    workflow.mask_faults(&mut faults);
    let mut details: Vec<String> = unreadable
        .iter()
        .map(|(name, reason)| format!("{name}: {reason}"))
        .collect();
    details.extend(faults.iter().map(|fault| sentence(fault, workflow)));
    let mut entries: Vec<Value> = unreadable
        .iter()
        .map(|(name, reason)| json!({ "type": "json_invalid", "loc": [name], "msg": reason }))
        .collect();
    entries.extend(faults.iter().map(entry));
    let message = format!(
        "the inputs do not fit workflow `{}`: {}",
        workflow.name,
        many(details.len(), "fault")
    );
    let mut failure = Failure::new(Exit::Invalid, message).details(details);
    if let Some(missing) = faults
        .iter()
        .find(|fault| fault.kind == FaultKind::Missing && fault.path.len() == 1)
    {
        let name = missing.dotted_path();
        failure = failure.hint(if missing.input["inputs"].get(&name).is_some() {
            "write the inputs at the top level of the file, not below `inputs`".to_owned()
        } else {
            format!("give it with --input {name}=VALUE, or --inputs FILE")
        });
    }
    Err(Refused::Inputs { entries, failure })
}

/// The failure of a run, with a hint unless its message contains one.
pub(super) fn of_run(failure: &outcome::Failure, exit: Exit) -> Failure {
    let hint = match failure.code {
        FailureCode::OutputInvalid => Some(match failure.cut_off {
            Some(CutOff::MaxTokens) => {
                "raise `max_tokens` in the node's `llm`, or ask for a shorter answer"
            }
            Some(CutOff::OutputLimit | CutOff::ContextWindow | CutOff::ContentFilter) => {
                "ask for a shorter answer, or choose a model that can give a longer one (--model)"
            }
            None => {
                "a clearer prompt, descriptions in output_schema, or a stronger model (--model) may help"
            }
        }),
        FailureCode::ModelTimeout => Some("raise config.execution.timeout in the workflow"),
        FailureCode::DeadlineExceeded => Some("raise --timeout"),
        FailureCode::NoRoute => Some("add an edge without a condition, or a default route"),
        FailureCode::NotSupported => Some("`flowmill validate` lists every unsupported feature"),
        _ if failure.retryable => Some("the same run may succeed later"),
        _ => None,
    };
    let mut report = Failure::new(exit, failure.message.clone());
    report.hint = hint.map(str::to_owned);
    report
}

/// `age: Input should be a valid integer (got "x")`.
fn sentence(fault: &Fault, workflow: &Workflow) -> String {
    let path = fault.dotted_path();
    let name = if path.is_empty() { "inputs" } else { &path };
    let rest = match fault.kind {
        FaultKind::Missing => String::new(),
        FaultKind::ExtraForbidden => inputs::unknown(name, workflow)
            .map_or_else(String::new, |way_out| format!("; {way_out}")),
        _ if path.is_empty() => String::new(),
        FaultKind::StringType if fault.input.is_number() || fault.input.is_boolean() => format!(
            " (got {}, a number or a bool where it stands unquoted; quotes make it text)",
            excerpt(&fault.input)
        ),
        _ => format!(" (got {})", excerpt(&fault.input)),
    };
    format!("{name}: {}{rest}", fault.message)
}

/// A fault as in the HTTP API's 422, without the leading `body`.
fn entry(fault: &Fault) -> Value {
    let mut entry = json!({
        "type": fault.kind.as_str(),
        "loc": fault.path,
        "msg": fault.message,
        "input": fault.input,
    });
    if let Some(context) = &fault.context {
        entry["ctx"] = context.clone();
    }
    entry
}

fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
