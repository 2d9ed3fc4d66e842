//! The job that a path is about.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jobs::job::JobId;

use crate::app::App;
use crate::refusal::Refusal;
use crate::request::caller::Caller;
use crate::request::workflow::path_parameter;

/// The answer to an id that names no job, well-formed or not.
pub(crate) const JOB_NOT_FOUND: Refusal = Refusal::NotFound("Job not found");

/// The `{job_id}` of a path. There may be no such job, but none that the caller may not see.
#[derive(Debug)]
pub(crate) struct NamedJob(pub(crate) JobId);

impl FromRequestParts<App> for NamedJob {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let text = path_parameter(parts, "job_id").await.ok_or(JOB_NOT_FOUND)?;
        let id = parse(&text).ok_or(JOB_NOT_FOUND)?;
        let caller = Caller::of(parts, app);
        if let Some(owner) = caller.sees_jobs_of() {
            let workflow = app.service().workflow_of_own(id, &owner).await;
            workflow
                .map_err(|error| Refusal::store_failed(&error))?
                .filter(|workflow| caller.may_use(workflow))
                .ok_or(JOB_NOT_FOUND)?;
        }
        Ok(Self(id))
    }
}

/// Reads an id in its one spelling, hyphenated.
pub(crate) fn parse(text: &str) -> Option<JobId> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    (text.len() == uuid::fmt::Hyphenated::LENGTH).then_some(JobId(id))
}
