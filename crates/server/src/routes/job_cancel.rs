//! `POST /jobs/{job_id}/cancel` and `POST /cancel/{job_id}`: cancels a job.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jobs::job::{JobId, Status};
use jobs::store::{CancelRequested, Error};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::openapi::{JOBS, Operation};
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::job_id::{JOB_NOT_FOUND, NamedJob};
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        JOBS,
        "Cancel a job",
        "Stops the job; its model calls are aborted at once.",
    )
    .answers::<JobHandle>(200, "The job is cancelled.")
    .answers::<JobHandle>(202, "The job is being stopped.")
    .finds("There is no such job.")
    .refuses(409, "The job had already ended otherwise.")
    .may_be_unavailable()
}

/// Which job, and its status now.
#[derive(Serialize, JsonSchema)]
struct JobHandle {
    job_id: JobId,
    status: Status,
}

pub(crate) async fn handle(
    State(app): State<App>,
    NamedJob(id): NamedJob,
) -> Result<Response, Refusal> {
    let (code, status) = match app.service().cancel(id).await {
        Ok(CancelRequested::Cancelling) => (StatusCode::ACCEPTED, Status::Cancelling),
        Ok(CancelRequested::Cancelled | CancelRequested::Ended(Status::Cancelled)) => {
            (StatusCode::OK, Status::Cancelled)
        }
        Ok(CancelRequested::Ended(status)) => {
            let detail = format!(
                "The job has already {}; there is nothing to cancel.",
                status.as_str()
            );
            return Err(
                ProblemAnswer::of_request(StatusCode::CONFLICT, "job_ended", detail)
                    .about(id)
                    .into(),
            );
        }
        Err(Error::NotFound) => return Err(JOB_NOT_FOUND),
        Err(error) => return Err(Refusal::store_failed(&error)),
    };
    Ok(reply::json(code, &JobHandle { job_id: id, status }))
}
