//! The content of a webhook: the same bytes with the same id at every try.

use jobs::job::{Job, JobId, Status};
use outbound::{Request, Url};
use schemars::JsonSchema;
use serde::Serialize;

use super::signature::Key;
use crate::document::{Time, WithoutWebhook};

/// The message to a webhook.
#[derive(Serialize, JsonSchema)]
pub struct JobEnded<'a> {
    r#type: EventType,
    timestamp: Time,
    data: WithoutWebhook<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
enum EventType {
    #[serde(rename = "job.completed")]
    Completed,
    #[serde(rename = "job.failed")]
    Failed,
    #[serde(rename = "job.cancelled")]
    Cancelled,
}

/// The message about a job that has ended, signed at this second.
pub(super) fn request(url: Url, key: Option<&Key>, job: &Job, seconds: i64) -> Request {
    let body = body(job);
    let id = id(job.id);
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-timestamp", seconds.to_string()),
    ];
    if let Some(key) = key {
        headers.push(("webhook-signature", key.sign(&id, seconds, &body)));
    }
    headers.push(("webhook-id", id));
    Request {
        url,
        headers,
        body: body.into(),
    }
}

/// A job ends once, so its id is the message's, too.
fn id(job: JobId) -> String {
    format!("msg_{job}")
}

fn body(job: &Job) -> Vec<u8> {
    let message = JobEnded {
        r#type: match job.status {
            Status::Completed => EventType::Completed,
            Status::Failed => EventType::Failed,
            Status::Cancelled => EventType::Cancelled,
            Status::Pending | Status::Running | Status::Waiting | Status::Cancelling => {
                unreachable!("only the end of a job is told")
            }
        },
        timestamp: Time(job.completed_at.unwrap_or(job.created_at)),
        data: WithoutWebhook::from(job),
    };
    serde_json::to_vec(&message).expect("a job has text keys and no failing Serialize")
}
