//! The content of a webhook: the same bytes with the same id at every try.

use jobs::job::{Job, JobId, Status};
use outbound::{Request, Url};
use serde::Serialize;

use super::signature::Key;
use crate::document::{Document, Time};

/// The body.
#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    timestamp: Time,
    data: Document<'a>,
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
    let message = Message {
        r#type: match job.status {
            Status::Completed => "job.completed",
            Status::Failed => "job.failed",
            Status::Cancelled => "job.cancelled",
            Status::Pending | Status::Running | Status::Waiting | Status::Cancelling => {
                unreachable!("only the end of a job is told")
            }
        },
        timestamp: Time(job.completed_at.unwrap_or(job.created_at)),
        data: Document::of_end(job),
    };
    serde_json::to_vec(&message).expect("a job has text keys and no failing Serialize")
}
