//! A job as `GET /status/{job_id}`, the listing and webhooks show it. The first seven keys are
//! those of the Python original and always present. This is here and not in `server` because
//! webhooks send it, too.

use std::borrow::Cow;

use engine::outcome::Usage;
use jiff::Timestamp;
use jobs::job::{Job, JobId, Status};
use jobs::json::Json;
use jobs::webhook::{Delivery, DeliveryState};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// A timestamp as clients see it: RFC 3339, UTC, microseconds, `Z`. Always six digits, so that they
/// compare as text.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", self.0))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// The whole state of the workflow at its end, inputs included.
#[derive(JsonSchema)]
pub struct Outputs;

/// The outputs of a job. A document describes only those of its own workflow.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum AnyOutputs {
    OfThisWorkflow(Outputs),
    OfAnother(Map<String, Value>),
}

/// A run and its status.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Job")]
pub struct Document<'a> {
    #[serde(flatten)]
    job: WithoutWebhook<'a>,
    webhook: Option<Webhook<'a>>,
}

/// The job without `webhook`.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct WithoutWebhook<'a> {
    job_id: JobId,
    status: Status,
    created_at: Time,
    completed_at: Option<Time>,
    execution_time_ms: Option<u64>,
    #[schemars(with = "Option<AnyOutputs>")]
    outputs: Option<&'a Json>,
    /// One sentence, once failed.
    error: Option<&'a str>,
    workflow: &'a str,
    started_at: Option<Time>,
    #[schemars(with = "Option<Usage>")]
    usage: Option<&'a Json>,
    /// The members of an RFC 9457 problem, once failed.
    #[schemars(with = "Option<Map<String, Value>>")]
    problem: Option<&'a Json>,
    #[schemars(with = "Option<Map<String, Value>>")]
    metadata: Option<&'a Json>,
    retried_from: Option<JobId>,
}

/// How far the end of the job has been reported.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Webhook<'a> {
    /// Without credentials and query; of the server's own webhook only the host.
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

impl<'a> From<&'a Job> for WithoutWebhook<'a> {
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

impl<'a> From<&'a Job> for Document<'a> {
    fn from(job: &'a Job) -> Self {
        Self {
            job: WithoutWebhook::from(job),
            webhook: job.webhook.as_ref().map(Webhook::from),
        }
    }
}

/// A job in a list, without its outputs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "JobRow")]
pub struct Row<'a> {
    job_id: JobId,
    status: Status,
    created_at: Time,
    completed_at: Option<Time>,
    execution_time_ms: Option<u64>,
    /// One sentence, once failed.
    error: Option<&'a str>,
    workflow: &'a str,
    started_at: Option<Time>,
    #[schemars(with = "Option<Usage>")]
    usage: Option<&'a Json>,
    #[schemars(with = "Option<Map<String, Value>>")]
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
