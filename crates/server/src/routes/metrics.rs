//! `GET /metrics`: metrics for Prometheus.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::openapi::{Content, Operation, SERVER};

pub(crate) fn docs() -> Operation {
    Operation::new(
        SERVER,
        "Metrics",
        "Requests, runs, nodes, model calls, tokens, cost, the queue and the store, in Prometheus' text format.",
    )
    .responds(200, "The metrics.", [Content::text("text/plain")])
}

pub(crate) async fn handle(State(app): State<App>) -> Response {
    // If the store does not answer, its counts are left out.
    let jobs = app.service().counts().await.ok();
    let text = app.telemetry().metrics().render(jobs);
    let content_type = HeaderValue::from_static(telemetry::metrics::CONTENT_TYPE);
    ([(CONTENT_TYPE, content_type)], text).into_response()
}
