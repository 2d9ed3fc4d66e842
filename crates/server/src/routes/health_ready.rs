//! `GET /health/ready`: whether requests should be sent to this server, for a load balancer.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use service::NotReady;

use crate::app::App;
use crate::openapi::{Operation, SERVER};
use crate::refusal::{ProblemAnswer, Refusal};
use crate::views::health::Health;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        SERVER,
        "Readiness",
        "Whether requests should be sent to this server.",
    )
    .answers::<Health>(200, "They should.")
    .may_be_unavailable()
}

pub(crate) async fn handle(State(app): State<App>) -> Result<Response, Refusal> {
    match app.service().ready().await {
        Ok(()) => Ok(reply::json(StatusCode::OK, &Health::of("ready"))),
        Err(NotReady::Draining) => Err(ProblemAnswer::draining().into()),
        Err(NotReady::Store(error)) => Err(Refusal::store_not_ready(&error)),
    }
}
