//! A job as `GET /status/{job_id}` and the listing show it. The first seven keys are the Python
//! original's and always there.

use jobs::job::{Job, JobId, Status};
use jobs::json::Json;
use serde::Serialize;

use super::time::Time;

/// One job, with its result.
#[derive(Serialize)]
pub struct Document<'a> {
    job_id: JobId,
    status: Status,
    created_at: Time,
    completed_at: Option<Time>,
    execution_time_ms: Option<u64>,
    outputs: Option<&'a Json>,
    error: Option<&'a str>,
    workflow: &'a str,
    started_at: Option<Time>,
    usage: Option<&'a Json>,
    problem: Option<&'a Json>,
    metadata: Option<&'a Json>,
    retried_from: Option<JobId>,
}

impl<'a> From<&'a Job> for Document<'a> {
    fn from(job: &'a Job) -> Self {
        Self {
            job_id: job.id,
            status: job.status,
            created_at: Time(job.created_at),
            completed_at: job.completed_at.map(Time),
            execution_time_ms: job.execution_time_ms,
            outputs: job.outputs.as_ref(),
            error: job.error.as_deref(),
            workflow: &job.workflow,
            started_at: job.started_at.map(Time),
            usage: job.usage.as_ref(),
            problem: job.problem.as_ref(),
            metadata: job.metadata.as_ref(),
            retried_from: job.retried_from,
        }
    }
}

/// One line of a listing: no outputs.
#[derive(Serialize)]
pub struct Row<'a> {
    job_id: JobId,
    status: Status,
    created_at: Time,
    completed_at: Option<Time>,
    execution_time_ms: Option<u64>,
    error: Option<&'a str>,
    workflow: &'a str,
    started_at: Option<Time>,
    usage: Option<&'a Json>,
    metadata: Option<&'a Json>,
    retried_from: Option<JobId>,
}

impl<'a> From<&'a Job> for Row<'a> {
    fn from(job: &'a Job) -> Self {
        Self {
            job_id: job.id,
            status: job.status,
            created_at: Time(job.created_at),
            completed_at: job.completed_at.map(Time),
            execution_time_ms: job.execution_time_ms,
            error: job.error.as_deref(),
            workflow: &job.workflow,
            started_at: job.started_at.map(Time),
            usage: job.usage.as_ref(),
            metadata: job.metadata.as_ref(),
            retried_from: job.retried_from,
        }
    }
}
