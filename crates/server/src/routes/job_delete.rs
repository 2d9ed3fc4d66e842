//! `DELETE /jobs/{job_id}`: deletes a job that has ended.

use axum::extract::State;
use axum::http::StatusCode;
use jobs::store::Error;

use crate::app::App;
use crate::openapi::{JOBS, Operation};
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::job_id::{JOB_NOT_FOUND, NamedJob};

pub(crate) fn docs() -> Operation {
    Operation::new(
        JOBS,
        "Delete a job",
        "Deletes an ended job and its outputs.",
    )
    .answers_nothing(204, "The job is deleted.")
    .finds("There is no such job.")
    .refuses(409, "The job has not ended; cancel it first.")
    .may_be_unavailable()
}

pub(crate) async fn handle(
    State(app): State<App>,
    NamedJob(id): NamedJob,
) -> Result<StatusCode, Refusal> {
    match app.service().delete(id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(Error::NotFound) => Err(JOB_NOT_FOUND),
        Err(Error::Active(_)) => {
            let detail = "The job has not ended; cancel it first, then delete it.";
            Err(
                ProblemAnswer::of_request(StatusCode::CONFLICT, "job_active", detail)
                    .about(id)
                    .into(),
            )
        }
        Err(error) => Err(Refusal::store_failed(&error)),
    }
}
