//! `GET /jobs/{job_id}/events`: a job's events, from the first one or from where a client left off.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use crate::app::App;
use crate::openapi::{Content, JOBS, Operation};
use crate::refusal::Refusal;
use crate::request::job_id::{JOB_NOT_FOUND, NamedJob};
use crate::views::fault::{FaultEntry, ParameterLocation};
use crate::views::sse;

pub(crate) fn docs() -> Operation {
    Operation::new(
        JOBS,
        "Watch a job",
        "Streams the job's events as they happen, as server-sent events, until the job ends.",
    )
    .header_like(
        "Last-Event-ID",
        "The id of the last event received; the stream goes on after it.",
        "3",
        json!({ "pattern": "^[0-9]{1,19}$" }),
    )
    .responds(200, "The events.", [Content::events()])
    .finds("There is no such job.")
    .validates()
    .may_be_unavailable()
}

pub(crate) async fn handle(
    State(app): State<App>,
    NamedJob(id): NamedJob,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let after = last_event_id(&headers)?;
    app.service()
        .get(id)
        .await
        .map_err(|error| Refusal::store_failed(&error))?
        .ok_or(JOB_NOT_FOUND)?;
    Ok(sse::respond(
        app.service().events(id, after),
        std::future::ready(None),
        app.settings().comment_every,
    ))
}

/// 0 if none is given: from the first event.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<u64, Refusal> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(0);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let message = "Input should be the id of an event";
    text.trim().parse().map_err(|_| {
        FaultEntry::parameter(
            ParameterLocation::Header,
            "last-event-id",
            "int_parsing",
            message,
            &text,
        )
        .into()
    })
}
