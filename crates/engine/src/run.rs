//! One run from start to end: its lifetime, cancellation, deadline, gates and outcome.

use std::sync::Arc;

use lang::workflow::{FieldId, Workflow};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::budget::Ledger;
use crate::capture::Capture;
use crate::context::{Context, Stop, millis};
use crate::emitter::Emitter;
use crate::event::EventKind;
use crate::gates::{self, FailedGate};
use crate::outcome::{Failure, FailureCode, FailureSource, Finished, Outcome};
use crate::plan::Plan;
use crate::progress::{CheckpointError, Progress};
use crate::schedule;

pub use crate::environment::{Environment, Limits, Start};
pub use crate::schedule::MAX_STEPS;

/// Runs a workflow to its end. Dropping the future aborts model calls in flight; `cancel` does the
/// same and ends the run as cancelled. An error means that the progress could not be saved: the run
/// stops here without an end.
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
    // A progress that does not fit the workflow fails the run below, before anything of it is
    // shown.
    if capture.hides() && progress.fits(workflow) {
        capture.learn(values(plan, &progress));
    }
    environment.observer.begins(&capture);
    let context = Context {
        workflow,
        environment,
        events: Emitter::new(
            environment.host.as_ref(),
            environment.observer.as_ref(),
            &capture,
            progress.last_event,
        ),
        ledger: Ledger::new(
            workflow,
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
        capture: &capture,
    };
    context.events.emit(EventKind::RunStarted {
        workflow: plan.name().clone(),
        resumed,
    });
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Stop::Cancelled),
        failure = context.deadline_passed() => Err(Stop::Failed(failure)),
        ended = run_to_end(&context, plan, &mut progress) => ended,
    };

    let (outcome, gate_warnings) = match ended {
        Ok(gate_warnings) => {
            let outputs = Arc::new(workflow.state_object(&progress.state));
            (Outcome::Completed { outputs }, gate_warnings)
        }
        Err(Stop::Failed(failure)) => (Outcome::Failed(failure), Vec::new()),
        Err(Stop::Cancelled) => (Outcome::Cancelled, Vec::new()),
        Err(Stop::Unsaved(error)) => return Err(error),
    };
    Ok(context.events.end(Finished {
        outcome,
        usage: Arc::new(context.ledger.usage(workflow)),
        execution_time_ms: millis(context.run_time()),
        gate_warnings,
        masked_outputs: None,
    }))
}

/// Every value that the run has so far, with its field: the state, and outputs that are not merged
/// yet.
fn values<'a>(
    plan: &'a Plan,
    progress: &'a Progress,
) -> impl Iterator<Item = (FieldId, &'a Value)> {
    let state = progress.state.iter().enumerate();
    let state = state.map(|(index, value)| (FieldId(index), value));
    let done = progress.done.iter().filter_map(|done| {
        let node = plan.runs(*progress.pending.get(done.work)?);
        Some((node, done.outputs.as_ref()?))
    });
    let outputs = done.flat_map(|(node, outputs)| {
        let fields = plan.node(node).output.fields.iter();
        fields.map(|output| output.target).zip(outputs)
    });
    state.chain(outputs)
}

/// Runs all steps, then checks the gates. Returns the messages of gates that failed without failing
/// the run.
async fn run_to_end(
    context: &Context<'_>,
    plan: &Plan,
    progress: &mut Progress,
) -> Result<Vec<String>, Stop> {
    let workflow = plan.workflow();
    refuse_unsupported(workflow)?;
    if !progress.fits(workflow) {
        let message =
            "The saved progress does not belong to this version of the workflow: start a new run";
        let failure = Failure::of_workflow(FailureCode::Internal, message);
        return Err(Failure {
            source: FailureSource::Server,
            ..failure
        }
        .into());
    }
    schedule::run(context, plan, progress).await?;
    if workflow.gates.gates.is_empty() {
        return Ok(Vec::new());
    }

    let usage = context.ledger.usage(workflow);
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

/// Refuses a workflow that could only fail: one with unsupported parts, or whose models are not
/// configured. Does no I/O. Call it before a run is accepted.
pub fn preflight(plan: &Plan, models: &dyn llm::model::Models) -> Result<(), Failure> {
    let workflow = plan.workflow();
    refuse_unsupported(workflow)?;
    for node in plan.node_plans() {
        node.kind.preflight(&node.id, models)?;
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
