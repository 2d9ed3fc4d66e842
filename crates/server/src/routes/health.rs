//! `GET /health`: shows that the server answers, and its clock.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use service::document::Time;

use crate::app::App;
use crate::openapi::{Operation, SERVER};
use crate::views::health::Health;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        SERVER,
        "Health",
        "Shows that the server answers, and its clock.",
    )
    .answers::<Health>(200, "The server answers.")
}

pub(crate) async fn handle(State(app): State<App>) -> Response {
    reply::json(
        StatusCode::OK,
        &Health {
            status: "healthy",
            timestamp: Some(Time(app.service().host().now())),
        },
    )
}
