//! A job as `GET /status/{job_id}`, the listing and webhooks show it. The first seven keys are
//! those of the Python original and always present. This is here and not in `server` because
//! webhooks send it, too.

use jiff::Timestamp;
use jobs::job::{Job, JobId, Status};
use jobs::json::Json;
use jobs::webhook::{Delivery, DeliveryState};
use serde::{Serialize, Serializer};

/// A timestamp as clients see it: RFC 3339, UTC, microseconds, `Z`. Always six digits, so that they
/// compare as text.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", self.0))
    }
}

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
    #[serde(skip_serializing_if = "WebhookMember::is_left_out")]
    webhook: WebhookMember<'a>,
}

/// The state of the job's webhook.
#[derive(Serialize)]
#[serde(untagged)]
enum WebhookMember<'a> {
    Webhook(Option<Webhook<'a>>),
    /// Not in what the webhook itself sends, which is the same at every try.
    LeftOut,
}

impl WebhookMember<'_> {
    fn is_left_out(&self) -> bool {
        matches!(self, Self::LeftOut)
    }
}

#[derive(Serialize)]
struct Webhook<'a> {
    url: &'a str,
    state: DeliveryState,
    attempts: u32,
    last_error: Option<&'a str>,
    next_attempt_at: Option<Time>,
}

impl<'a> From<&'a Delivery> for Webhook<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self {
            url: &delivery.url,
            state: delivery.state,
            attempts: delivery.attempts,
            last_error: delivery.last_error.as_deref(),
            next_attempt_at: delivery.next_attempt_at.map(Time),
        }
    }
}

impl<'a> Document<'a> {
    /// A job that has ended, as its webhook sends it.
    pub(crate) fn of_end(job: &'a Job) -> Self {
        Self {
            webhook: WebhookMember::LeftOut,
            ..Self::from(job)
        }
    }
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
            webhook: WebhookMember::Webhook(job.webhook.as_ref().map(Webhook::from)),
        }
    }
}

/// One job of a listing, without outputs.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(nanoseconds: i128, expected: &str) {
        let time = Time(Timestamp::from_nanosecond(nanoseconds).unwrap());
        assert_eq!(serde_json::to_value(time).unwrap(), expected);
    }

    #[test]
    fn six_digits_and_z() {
        check(1_764_000_000_000_000_000, "2025-11-24T16:00:00.000000Z");
        check(1_764_000_000_123_456_789, "2025-11-24T16:00:00.123456Z");
    }
}
