//! `flowmill run`: one run of a workflow, from inputs to outputs.

mod inputs;
mod refusal;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::telemetry::Telemetry;
use engine::host::Host as _;
use engine::observer::Observer;
use engine::outcome::{Finished, Outcome};
use engine::plan::Plan;
use engine::progress::NoCheckpoint;
use engine::run::{Environment, Limits, Start};
use engine::trace::{self, RunIds};
use engine::watch::{ObserverPair, RunInfo, Telemetry as _};
use jobs::job::JobId;
use lang::workflow::{InitialState, Workflow};
use serde_json::{Value, json};
use service::problem::{ErrorSource, Problem};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::refusal::Refused;
use super::context::Context;
use crate::config::log::Level;
use crate::config::{models, run, telemetry};
use crate::failure::{Exit, Failure, Result};
use crate::progress::{Mode, Progress};
use crate::recording::PublishAt;
use crate::signals::Signals;
use crate::system_host::SystemHost;
use crate::telemetry_setup::{self, CLOSE_LIMIT};
use crate::{assemble, printer, runtime, workflow_file};

/// Run a workflow once; print its outputs to stdout and its progress to stderr
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowmill run greeting.yaml --input name=Ada --offline
  flowmill run article.yaml --inputs inputs.json --model openai/gpt-4o-mini
  echo '{\"name\": \"Ada\"}' | flowmill run greeting.yaml --inputs - --format json | jq .outputs")]
pub(super) struct Args {
    /// Workflow file (.yaml, .yml, .json)
    file: PathBuf,

    #[command(flatten)]
    run: run::Options,

    /// Print every event of the run as a line of JSON instead of the outputs
    #[arg(long)]
    events: bool,

    #[command(flatten)]
    inputs: inputs::Args,

    #[command(flatten)]
    models: models::Options,

    /// Replace the cassette that --record names
    #[arg(short, long, help_heading = "Models")]
    force: bool,

    #[command(flatten)]
    telemetry: telemetry::Options,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    context.start_logging(Level::Warn);
    let settings = args.run.clone().settle(&context.project.run);
    let json = settings.format == run::Format::Json && !args.events;
    match prepare(args, context) {
        Ok(prepared) => {
            let is_terminal =
                printer::stderr_look().terminal && !context.environment.has_dumb_terminal();
            execute(args, &settings, is_terminal, prepared)
        }
        Err(refused) => {
            if json {
                printer::data(&refused.envelope().to_string())?;
            }
            Err(refused.into_failure())
        }
    }
}

fn load(file: &Path) -> Result<Arc<Workflow>, Refused> {
    let report = workflow_file::CheckedFile::read(file)
        .map_err(Refused::by("workflow_invalid", ErrorSource::Workflow))?;
    report.print_findings();
    let workflow = report.checked.workflow.clone();
    workflow.ok_or_else(|| Refused::Workflow(Box::new(report)))
}

/// Everything that a run needs, checked.
struct Prepared {
    plan: Plan,
    state: InitialState,
    answering: assemble::AssembledModels,
    /// The inputs as they were given, as JSON.
    inputs: String,
    telemetry: Telemetry,
    host: Arc<SystemHost>,
}

/// Reads and checks everything before the first model call.
fn prepare(args: &Args, context: &Context) -> Result<Prepared, Refused> {
    let workflow = load(&args.file)?;
    let given = inputs::read(&args.inputs, &workflow)
        .map_err(Refused::by("input_invalid", ErrorSource::Request))?;
    let given_json = Value::Object(given.values.clone()).to_string();
    let state = refusal::accept(&workflow, given)?;
    let layers = args
        .models
        .clone()
        .layers(|id| context.is_flag(id), context.project.models.clone());
    let settings =
        models::Options::settle(layers).map_err(Refused::by("usage", ErrorSource::Request))?;
    assemble::refuse_recording(settings.record.as_deref(), &workflow)
        .map_err(Refused::by("usage", ErrorSource::Request))?;
    let record_options = assemble::RecordOptions {
        force: args.force,
        publish_at: PublishAt::RunEnd,
    };
    let answering = assemble::models(&settings, record_options, &context.environment)
        .map_err(Refused::by("model_config", ErrorSource::Request))?;
    let host = Arc::new(SystemHost::new());
    let telemetry = telemetry_setup::start(
        args.telemetry.settle(&context.project.telemetry),
        settings.ca.as_deref(),
        &context.environment,
        host.clone(),
    )
    .map_err(Refused::by("usage", ErrorSource::Request))?;
    let plan = Plan::new(workflow);
    engine::run::preflight(&plan, &*answering.models).map_err(Refused::Preflight)?;
    Ok(Prepared {
        plan,
        state,
        answering,
        inputs: given_json,
        telemetry,
        host,
    })
}

fn execute(
    args: &Args,
    settings: &run::Settings,
    is_terminal: bool,
    prepared: Prepared,
) -> Result<Exit> {
    let Prepared {
        plan,
        state,
        answering,
        inputs,
        telemetry,
        host,
    } = prepared;
    let mode = match (settings.quiet, is_terminal) {
        (true, _) => Mode::Quiet,
        (false, true) => Mode::InPlace,
        (false, false) => Mode::Lines,
    };
    // Printed even with --quiet, which is about progress: the user must know where the answers come
    // from.
    if let Some(notice) = &answering.notice {
        printer::note(notice);
    }
    let progress = Arc::new(Progress::new(mode, args.events));
    let job_id = host.new_id();
    let watch = telemetry.begin(&RunInfo {
        id: job_id,
        workflow: plan.workflow(),
        inputs: &|| inputs.clone(),
        created_at: host.now(),
        is_async: false,
        resumed: false,
        parent: None,
        ceiling: settings.capture,
    });
    let observer = Arc::clone(&progress) as Arc<dyn Observer>;
    let environment = Environment {
        models: answering.models,
        host,
        observer: match &watch {
            None => observer,
            Some(watch) => Arc::new(ObserverPair::new(observer, watch.clone())),
        },
        checkpoint: Arc::new(NoCheckpoint),
    };
    let limits = Limits {
        deadline: settings.timeout,
        budget: settings.budget.clone(),
        quota: None,
        fan_out: service::Settings::default().fan_out,
        stream: args.events || mode == Mode::InPlace,
        capture: settings.capture,
        was_interrupted: false,
    };
    let runtime = runtime::of_one_thread()?;
    let finished = runtime.block_on(async {
        let cancel = CancellationToken::new();
        tokio::spawn(cancel_on_signal(Signals::listen()?, cancel.clone()));
        let running = engine::run::run(&plan, Start::Fresh(state), limits, &environment, cancel);
        let finished = trace::within(RunIds::of(job_id, None), running)
            .await
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        if let Some(watch) = &watch {
            watch.ended(&finished);
        }
        Ok(finished)
    });
    progress.finish();
    let concluded = finished.and_then(|finished| {
        let is_success = matches!(finished.outcome, Outcome::Completed { .. });
        let concluded = conclude(args, settings, finished, job_id);
        // Last, so that outputs that were paid for are printed even if the cassette cannot be
        // renamed.
        let recorded = answering
            .recording
            .map_or(Ok(()), |recording| recording.end(is_success));
        concluded.and_then(|exit| recorded.map(|()| exit))
    });
    // The result is printed by now and does not wait for telemetry.
    runtime.block_on(telemetry.close(CLOSE_LIMIT));
    // A hanging name lookup must not keep the process alive.
    runtime.shutdown_background();
    concluded
}

/// Prints the result of the run.
fn conclude(
    args: &Args,
    settings: &run::Settings,
    finished: Finished,
    job_id: Uuid,
) -> Result<Exit> {
    let Finished {
        outcome,
        usage,
        execution_time_ms,
        ..
    } = finished;
    let json = settings.format == run::Format::Json;
    let envelope = |status: &str| {
        json!({
            "status": status,
            "outputs": null,
            "usage": usage,
            "execution_time_ms": execution_time_ms,
            "job_id": job_id.to_string(),
        })
    };
    match outcome {
        // The last event contains everything already.
        Outcome::Completed { .. } if args.events => Ok(Exit::Success),
        Outcome::Completed { outputs } => {
            let outputs = Arc::unwrap_or_clone(outputs);
            let text = match settings.format {
                run::Format::Pretty => format!("{:#}", Value::Object(outputs)),
                run::Format::Yaml => {
                    let mut text = lang::yaml::to_text(&Value::Object(outputs));
                    // Only the one line end that printing adds: further ones may belong to a value.
                    text.pop();
                    text
                }
                run::Format::Json => {
                    let mut envelope = envelope("success");
                    envelope["outputs"] = Value::Object(outputs);
                    envelope.to_string()
                }
            };
            printer::data(&text)?;
            Ok(Exit::Success)
        }
        Outcome::Failed(failure) => {
            if json && !args.events {
                let mut envelope = envelope("failed");
                envelope["error"] = json!(failure.message);
                envelope["problem"] = json!(Problem::of_failure(&failure, Some(JobId(job_id))));
                printer::data(&envelope.to_string())?;
            }
            printer::failure(&refusal::of_run(&failure, Exit::Failed));
            Ok(Exit::Failed)
        }
        Outcome::Cancelled => {
            if json && !args.events {
                printer::data(&envelope("cancelled").to_string())?;
            }
            printer::failure(&Failure::new(Exit::Interrupted, "the run was cancelled"));
            Ok(Exit::Interrupted)
        }
    }
}

/// The first Ctrl-C or SIGTERM cancels the run, which aborts its model calls; the second ends the
/// process.
async fn cancel_on_signal(mut signals: Signals, cancel: CancellationToken) {
    signals.next().await;
    cancel.cancel();
    signals.next().await;
    std::process::exit(Exit::Interrupted as i32);
}
