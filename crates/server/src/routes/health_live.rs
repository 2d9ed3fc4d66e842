//! `GET /health/live`: shows that the process is up, for a supervisor that restarts it otherwise.

use axum::http::StatusCode;
use axum::response::Response;

use crate::openapi::{Operation, SERVER};
use crate::views::health::Health;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(SERVER, "Liveness", "Shows that the process is up.")
        .answers::<Health>(200, "The process is up.")
}

pub(crate) async fn handle() -> Response {
    reply::json(StatusCode::OK, &Health::of("alive"))
}
