//! The job that a path is about.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jobs::job::JobId;

use crate::app::App;
use crate::refusal::Refusal;
use crate::request::workflow::path_parameter;

/// What every path answers that names no job, well-formed or not.
pub(crate) const JOB_NOT_FOUND: Refusal = Refusal::NotFound("Job not found");

/// `{job_id}` of a path.
#[derive(Debug)]
pub(crate) struct NamedJob(pub(crate) JobId);

impl FromRequestParts<App> for NamedJob {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Refusal> {
        let text = path_parameter(parts, "job_id").await.ok_or(JOB_NOT_FOUND)?;
        parse(&text).map(Self).ok_or(JOB_NOT_FOUND)
    }
}

/// Ids have one spelling: hyphenated.
pub(crate) fn parse(text: &str) -> Option<JobId> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    (text.len() == uuid::fmt::Hyphenated::LENGTH).then_some(JobId(id))
}
