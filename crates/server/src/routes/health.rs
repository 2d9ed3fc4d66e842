//! `GET /health`: that the server answers, and its clock.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use service::document::Time;

use crate::app::App;
use crate::openapi::{Operation, SERVER};
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        SERVER,
        "Health",
        "That the server answers, and what time it has.",
    )
    .answers(200, "It does.", "Health")
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    timestamp: Time,
}

pub(crate) async fn handle(State(app): State<App>) -> Response {
    reply::json(
        StatusCode::OK,
        &Health {
            status: "healthy",
            timestamp: Time(app.service().host().now()),
        },
    )
}
