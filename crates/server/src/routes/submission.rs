//! What the endpoints that start runs share: the request to the service, and why a run was not
//! accepted.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use engine::outcome::FailureCode;
use futures_util::TryFutureExt as _;
use lang::fault::{Fault, FaultKind, PathSegment};
use service::catalog::LoadedWorkflow;
use service::inline_run::InlineRun;
use service::problem::Problem;
use service::submission::{Accepted, RunRequest, SubmitError};

use crate::app::App;
use crate::limits;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body::Object;
use crate::request::caller::Caller;
use crate::views::fault::FaultEntry;

/// A request of `caller` for a run with these inputs.
pub(crate) fn of_inputs(inputs: Object, caller: &Caller) -> RunRequest {
    RunRequest {
        owner: caller.owner(),
        inputs: inputs.members,
        large_integers: inputs.oversized,
        ..RunRequest::default()
    }
}

/// Hands a run to the service. `place` is the path to the inputs within the request, for faults.
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

/// As [`submit`], for a client that waits for the end for `wait`.
pub(crate) fn submit_inline<'a>(
    app: &'a App,
    workflow: &'a Arc<LoadedWorkflow>,
    request: RunRequest,
    wait: Duration,
    place: &'a [&str],
) -> impl Future<Output = Result<InlineRun, Refusal>> + Send + 'a {
    app.service()
        .submit_inline(workflow, request, wait)
        .map_err(|error| refused(app, error, place))
}

/// Why a run was not accepted.
pub(crate) fn refused(app: &App, error: SubmitError, place: &[&str]) -> Refusal {
    match error {
        SubmitError::Inputs(faults) => {
            let entries = faults.into_iter().map(|fault| {
                let wrapped = place == ["body"] && is_wrapped(&fault);
                let entry = FaultEntry::input(fault, place);
                if wrapped {
                    entry.with_advice(WRAPPED)
                } else {
                    entry
                }
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
            "This Idempotency-Key was used for a run with other inputs; use a new one.",
        )
        .into(),
        SubmitError::Forgotten { job, status } => {
            let detail = format!(
                "The job of this Idempotency-Key ended as {} and has been deleted or has expired since, so its answer cannot \
                 be repeated; nothing was run. Use a new key to run it again.",
                status.as_str(),
            );
            ProblemAnswer::of_request(StatusCode::GONE, "job_forgotten", detail)
                .about(job)
                .into()
        }
        SubmitError::Limited(exceeded) => limits::refused(app, &exceeded),
        SubmitError::QueueFull => {
            ProblemAnswer::unavailable("queue_full", "Too many runs are waiting; try again later.")
                .into()
        }
        SubmitError::Draining => ProblemAnswer::draining().into(),
        SubmitError::Store(error) => Refusal::store_failed(&error),
    }
}

/// Advice for a body that wraps the inputs where they should be the body.
const WRAPPED: &str = "the body is the inputs themselves, without `inputs` around them";

/// Whether an input is missing because it is one level deeper, as in `{"inputs": {"name": …}}`.
fn is_wrapped(fault: &Fault) -> bool {
    match fault.path.as_slice() {
        [PathSegment::Key(name)] if fault.kind == FaultKind::Missing => {
            fault.input["inputs"].get(name).is_some()
        }
        _ => false,
    }
}
