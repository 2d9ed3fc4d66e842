//! What the endpoints that start runs share: reading inputs, and why a run was not accepted.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use engine::outcome::FailureCode;
use futures_util::TryFutureExt as _;
use lang::fault::{Fault, FaultKind, PathSegment};
use service::attended::Attended;
use service::catalog::LoadedWorkflow;
use service::problem::Problem;
use service::runs::{Accepted, RunRequest, SubmitError};

use crate::app::App;
use crate::limits;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body::Object;
use crate::request::caller::Caller;
use crate::views::fault::FaultEntry;

/// A request of that caller for a run with these inputs and nothing else.
pub(crate) fn of_inputs(inputs: Object, caller: &Caller) -> RunRequest {
    RunRequest {
        owner: caller.owner(),
        inputs: inputs.members,
        large_integers: inputs.oversized,
        ..RunRequest::default()
    }
}

/// Hands a run to the service. `place` leads to the inputs within the request, for faults.
pub(crate) fn submit<'a>(
    app: &'a App,
    workflow: &'a Arc<LoadedWorkflow>,
    request: RunRequest,
    place: &'a [&str],
) -> impl Future<Output = Result<Accepted, Refusal>> + Send + 'a {
    app.service()
        .submit(workflow, request)
        .map_err(|error| refused(app, error, place))
}

/// As [`submit`], for a caller who waits for the end, for as long as `wait`.
pub(crate) fn attend<'a>(
    app: &'a App,
    workflow: &'a Arc<LoadedWorkflow>,
    request: RunRequest,
    wait: Duration,
    place: &'a [&str],
) -> impl Future<Output = Result<Attended, Refusal>> + Send + 'a {
    app.service()
        .attend(workflow, request, wait)
        .map_err(|error| refused(app, error, place))
}

/// Why a run was not accepted.
pub(crate) fn refused(app: &App, error: SubmitError, place: &[&str]) -> Refusal {
    match error {
        SubmitError::Inputs(faults) => {
            let entries = faults.into_iter().map(|fault| {
                let wrapped = place == ["body"] && is_wrapped(&fault);
                let entry = FaultEntry::input(fault, place);
                if wrapped { entry.with_advice(WRAPPED) } else { entry }
            });
            Refusal::Invalid(entries.collect())
        }
        SubmitError::Preflight(failure) => {
            let mut problem = Problem::of_failure(&failure, None);
            if failure.code == FailureCode::NotSupported {
                problem.status = StatusCode::NOT_IMPLEMENTED.as_u16();
            }
            ProblemAnswer::from(problem).into()
        }
        SubmitError::KeyReused => ProblemAnswer::of_request(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "This Idempotency-Key was used for a run with other inputs or another version of the workflow; take a new one.",
        )
        .into(),
        SubmitError::Forgotten { job, status } => {
            let detail = format!(
                "The job of this Idempotency-Key ended as {} and has been forgotten since, so its answer cannot \
                 be repeated; nothing was run. Take a new key to run it again.",
                status.as_str(),
            );
            ProblemAnswer::of_request(StatusCode::GONE, "job_forgotten", detail).about(job).into()
        }
        SubmitError::Limited(exceeded) => limits::refused(app, &exceeded),
        SubmitError::QueueFull => {
            ProblemAnswer::unavailable("queue_full", "Too many runs are waiting; try again later.").into()
        }
        SubmitError::Draining => ProblemAnswer::draining().into(),
        SubmitError::Store(error) => Refusal::store_failed(&error),
    }
}

/// The way out for a body that is an envelope where the inputs are the body.
const WRAPPED: &str = "the body is the inputs themselves, without `inputs` around them";

/// Whether an input is missing because it was given one level down, as `{"inputs": {"name": …}}`.
fn is_wrapped(fault: &Fault) -> bool {
    match fault.path.as_slice() {
        [PathSegment::Key(name)] if fault.kind == FaultKind::Missing => {
            fault.input["inputs"].get(name).is_some()
        }
        _ => false,
    }
}
