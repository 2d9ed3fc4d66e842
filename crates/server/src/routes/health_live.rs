//! `GET /health/live`: the process is up. For a supervisor that restarts it when it is not.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::openapi::{Operation, SERVER};
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(SERVER, "Liveness", "The process is up.").answers(200, "It is.", "Health")
}

pub(crate) async fn handle() -> Response {
    reply::json(StatusCode::OK, &json!({ "status": "alive" }))
}
