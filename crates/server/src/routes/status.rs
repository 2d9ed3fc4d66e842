//! `GET /status/{job_id}` and `GET /jobs/{job_id}`: one job. Waits for its end as long as the
//! client asks.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::run::PREFERENCE_APPLIED;
use crate::app::App;
use crate::openapi::{JOBS, Operation};
use crate::refusal::Refusal;
use crate::request::etag;
use crate::request::job_id::{JOB_NOT_FOUND, NamedJob};
use crate::request::preferences::Preferences;
use crate::views::{Document, delivery, reply};

pub(crate) fn docs() -> Operation {
    Operation::new(
        JOBS,
        "Show a job",
        "The status of the job, and its outputs once it has completed.",
    )
    .header(
        "Prefer",
        "`wait=N`: answer when the job has ended, or after N seconds (RFC 7240).",
        "wait=10",
    )
    .header(
        "If-None-Match",
        "The `ETag` of an earlier answer; 304 while nothing has changed.",
        "\"0123456789abcdef\"",
    )
    .answers::<Document<'_>>(200, "The job.")
    .with(200, "ETag", "Changes whenever the answer does.")
    .answers_nothing(304, "Nothing has changed.")
    .finds("There is no such job.")
    .may_be_unavailable()
}

pub(crate) async fn handle(
    State(app): State<App>,
    NamedJob(id): NamedJob,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let preferences = Preferences::read(&headers);
    let max_wait = app.settings().max_wait;
    let wait = preferences.wait_time(Duration::ZERO, max_wait);
    let found = if wait.is_zero() {
        app.service().get(id).await
    } else {
        app.service().wait_for(id, wait).await
    };
    let job = found
        .map_err(|error| Refusal::store_failed(&error))?
        .ok_or(JOB_NOT_FOUND)?;

    let body = reply::to_json(&Document::from(&job));
    let tag = etag::of(&body);
    let mut answer = if etag::is_among(&tag, &headers.get_all(IF_NONE_MATCH)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        reply::json_bytes(StatusCode::OK, body)
    };
    answer.headers_mut().insert(ETAG, tag);
    delivery::mark_if_ended(&app, &job, &mut answer);
    if let Some(applied) = preferences.applied(max_wait) {
        answer.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(answer)
}
