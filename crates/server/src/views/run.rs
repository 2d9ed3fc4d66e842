//! The answers of `POST /run`. The first five keys are the Python original's and always there.

use axum::http::HeaderValue;
use jobs::job::{Job, JobId};
use jobs::json::Json;
use serde::Serialize;

/// 200: the run's result.
#[derive(Serialize)]
pub(crate) struct Finished<'a> {
    status: &'static str,
    execution_time_ms: Option<u64>,
    outputs: Option<&'a Json>,
    job_id: JobId,
    message: Option<&'static str>,
    usage: Option<&'a Json>,
}

impl<'a> Finished<'a> {
    /// Of a completed job.
    pub(crate) fn of(job: &'a Job) -> Self {
        Self {
            status: "success",
            execution_time_ms: job.execution_time_ms,
            outputs: job.outputs.as_ref(),
            job_id: job.id,
            message: None,
            usage: job.usage.as_ref(),
        }
    }
}

/// 202: a handle on the run, which goes on.
#[derive(Serialize)]
pub(crate) struct Pending {
    status: &'static str,
    execution_time_ms: Option<u64>,
    outputs: Option<()>,
    job_id: JobId,
    message: String,
}

impl Pending {
    /// Of a job that has not ended.
    pub(crate) fn of(id: JobId) -> Self {
        Self {
            status: "async",
            execution_time_ms: None,
            outputs: None,
            job_id: id,
            message: format!("The run goes on; ask for its result at {}.", location(id)),
        }
    }
}

/// Where a job can be asked for.
pub(crate) fn location(id: JobId) -> String {
    format!("/status/{id}")
}

/// The same as a header.
pub(crate) fn location_header(id: JobId) -> HeaderValue {
    HeaderValue::try_from(location(id))
        .expect("hexadecimal digits, hyphens and slashes make a header value")
}
