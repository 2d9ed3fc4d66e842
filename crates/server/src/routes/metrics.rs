//! `GET /metrics`: metrics for Prometheus.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use jobs::store::Error;
use service::Service;
use telemetry::metrics::{Now, StoreCounts};

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
    let now = Now {
        runs_here: app.service().runs_here(),
        store: counts(app.service()).await.ok(),
    };
    let text = app.telemetry().metrics().render(&now);
    let content_type = HeaderValue::from_static(telemetry::metrics::CONTENT_TYPE);
    ([(CONTENT_TYPE, content_type)], text).into_response()
}

async fn counts(service: &Service) -> Result<StoreCounts, Error> {
    Ok(StoreCounts {
        jobs: service.counts().await?,
        replicas: service.replicas().await?.len(),
    })
}
