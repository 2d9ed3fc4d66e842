//! One run from start to end: its lifetime, cancellation, deadline, gates and outcome.

use std::sync::Arc;
use std::time::Duration;

use lang::workflow::{Budget, CaptureLevel, InitialState, Workflow};
use tokio_util::sync::CancellationToken;

use crate::budget::Ledger;
use crate::capture::Capture;
use crate::context::{Context, Stop, millis};
use crate::event::{Emitter, EventKind, Observer};
use crate::gates::{self, FailedGate};
use crate::host::Host;
use crate::outcome::{Failure, FailureCode, FailureSource, Finished, Outcome};
use crate::plan::Plan;
use crate::progress::{Checkpoint, CheckpointError, Progress};
use crate::quota::Quota;
use crate::schedule;
use crate::steps::model_call::model_failure;

/// Steps a run may take before it is stopped as endless.
pub const MAX_STEPS: u64 = 10_000;

/// What a run needs from outside.
pub struct Environment {
    /// Models by spec.
    pub models: Arc<dyn llm::model::Models>,
    /// Clock, ids, randomness.
    pub host: Arc<dyn Host>,
    /// Told of every event.
    pub observer: Arc<dyn Observer>,
    /// Makes progress durable.
    pub checkpoint: Arc<dyn Checkpoint>,
}

/// What one run may do.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time left for the whole run, from now.
    pub deadline: Option<Duration>,
    /// Over the workflow's own, whichever is tighter.
    pub budget: Budget,
    /// Of whoever pays for it, over all their runs.
    pub quota: Option<Arc<dyn Quota>>,
    /// Fan-out items in flight at once; models that are sequential get one at a time.
    pub fan_out: usize,
    /// Ask models to stream, so that `llm_delta` events come.
    pub stream: bool,
    /// Most that telemetry may keep, whatever the workflow allows.
    pub capture: CaptureLevel,
    /// The process of an earlier attempt at the run was gone at once: what the calls took that it had under
    /// way is not booked yet.
    pub was_interrupted: bool,
}

impl Default for Limits {
    /// No deadline, no budget beyond the workflow's own, no quota, 16 items at once, no streaming, everything captured.
    fn default() -> Self {
        Self {
            deadline: None,
            budget: Budget::default(),
            quota: None,
            fan_out: 16,
            stream: false,
            capture: CaptureLevel::Full,
            was_interrupted: false,
        }
    }
}

/// Where a run begins.
#[derive(Debug, Clone)]
pub enum Start {
    /// At START, with accepted inputs.
    Fresh(InitialState),
    /// Where an earlier attempt stopped.
    Resume(Box<Progress>),
}

/// Runs to its end. Dropping the future aborts model calls in flight; `cancel` does the same and
/// ends the run as cancelled. An error means the run has no end *here*: its progress could not be saved.
pub async fn run(
    plan: &Plan,
    start: Start,
    limits: Limits,
    environment: &Environment,
    cancel: CancellationToken,
) -> Result<Finished, CheckpointError> {
    let workflow = plan.workflow();
    let (mut progress, resumed) = match start {
        Start::Fresh(state) => (Progress::new(workflow, state), false),
        Start::Resume(progress) => (*progress, true),
    };
    let capture = Arc::new(Capture::new(workflow.clone(), limits.capture));
    capture.learn(plan, &progress);
    environment.observer.begins(&capture);
    let context = Context {
        plan,
        environment,
        events: Emitter::new(
            environment.host.as_ref(),
            environment.observer.as_ref(),
            progress.last_event,
        ),
        ledger: Ledger::new(
            plan,
            &limits.budget,
            environment.models.price_table(),
            &progress.usage,
        ),
        started: environment.host.elapsed(),
        earlier_ms: progress.elapsed_ms,
        deadline: limits.deadline,
        quota: limits.quota,
        interrupted_step: limits.was_interrupted.then_some(progress.steps),
        fan_out: if environment.models.is_sequential() {
            1
        } else {
            limits.fan_out.max(1)
        },
        stream: limits.stream,
        capture,
    };
    let capture = &context.capture;
    context.events.emit(EventKind::RunStarted {
        workflow: plan.name().clone(),
        resumed,
    });
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Stop::Cancelled),
        failure = context.deadline_passed() => Err(Stop::Failed(failure)),
        ended = to_the_end(&context, &mut progress) => ended,
    };

    let usage = Arc::new(context.ledger.usage(plan));
    let execution_time_ms = millis(context.run_time());
    let mut masked_outputs = None;
    let (outcome, gate_warnings) = match ended {
        Ok(gate_warnings) => {
            let outputs = Arc::new(workflow.state_object(&progress.state));
            masked_outputs = capture
                .hides()
                .then(|| Arc::new(capture.masked_fields(&outputs)));
            context.events.emit(EventKind::RunCompleted {
                outputs: masked_outputs.as_ref().unwrap_or(&outputs).clone(),
                usage: usage.clone(),
                execution_time_ms,
            });
            (Outcome::Completed { outputs }, gate_warnings)
        }
        Err(Stop::Failed(failure)) => {
            let failure = capture.masked_failure(failure);
            context.events.emit(EventKind::RunFailed {
                error: failure.message.clone(),
                problem: failure.problem(),
                usage: usage.clone(),
                execution_time_ms,
            });
            (Outcome::Failed(failure), Vec::new())
        }
        Err(Stop::Cancelled) => {
            context
                .events
                .emit(EventKind::RunCancelled { execution_time_ms });
            (Outcome::Cancelled, Vec::new())
        }
        Err(Stop::Unsaved(error)) => return Err(error),
    };
    Ok(Finished {
        outcome,
        usage,
        execution_time_ms,
        gate_warnings,
        masked_outputs,
    })
}

/// All steps, then the gates. Returns the messages of gates that failed without failing the run.
async fn to_the_end(context: &Context<'_>, progress: &mut Progress) -> Result<Vec<String>, Stop> {
    let workflow = context.plan.workflow();
    refuse_unsupported(workflow)?;
    if !progress.fits(workflow) {
        let message = "The saved progress does not belong to this version of the workflow";
        let failure = Failure::of_workflow(FailureCode::Internal, message);
        return Err(Failure {
            source: FailureSource::Server,
            ..failure
        }
        .into());
    }
    schedule::run(context, progress).await?;
    if workflow.gates.gates.is_empty() {
        return Ok(Vec::new());
    }

    let usage = context.ledger.usage(context.plan);
    let failed = gates::failed(workflow, &usage, context.run_time());
    for gate in &failed {
        let (metric, message) = (gate.metric.clone(), gate.message.clone());
        context
            .events
            .emit(EventKind::GateFailed { metric, message });
    }
    let messages = |gates: Vec<FailedGate>| {
        gates
            .into_iter()
            .map(|gate| gate.message)
            .collect::<Vec<_>>()
    };
    let (fatal, others): (Vec<_>, Vec<_>) = failed.into_iter().partition(|gate| gate.fails_run);
    if fatal.is_empty() {
        return Ok(messages(others));
    }
    Err(Failure::of_workflow(FailureCode::GateFailed, messages(fatal).join("; ")).into())
}

/// What stands in the way of running this workflow at all: unsupported parts, models that are not set up.
/// Does no I/O; callers use it before they accept a run.
pub fn preflight(plan: &Plan, models: &dyn llm::model::Models) -> Result<(), Failure> {
    let workflow = plan.workflow();
    refuse_unsupported(workflow)?;
    for (node, node_plan) in workflow.nodes.iter().zip(plan.node_plans()) {
        if let Some(asked) = node_plan.model() {
            models
                .find(&asked.model)
                .map_err(|error| model_failure(&node.id, &error, 1, ""))?;
        }
    }
    Ok(())
}

fn refuse_unsupported(workflow: &Workflow) -> Result<(), Failure> {
    if workflow.unsupported.is_empty() {
        return Ok(());
    }
    let parts: Vec<&str> = workflow
        .unsupported
        .iter()
        .map(|part| part.what.as_str())
        .collect();
    let message = format!(
        "Workflow `{}` cannot run: not supported yet: {}",
        workflow.name,
        parts.join(", ")
    );
    Err(Failure::of_workflow(FailureCode::NotSupported, message))
}
