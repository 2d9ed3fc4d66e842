//! `GET /openapi.json`: the `OpenAPI` document of this workflow.

use axum::extract::State;
use axum::http::{Extensions, StatusCode};
use axum::response::Response;

use crate::app::App;
use crate::openapi::{self, Operation, SERVER};
use crate::request::prefix::RootPath;
use crate::request::workflow::SelectedWorkflow;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(SERVER, "OpenAPI", "This document.").answers(
        200,
        "An OpenAPI 3.1 document.",
        "OpenApi",
    )
}

pub(crate) async fn handle(
    State(app): State<App>,
    selected: SelectedWorkflow,
    extensions: Extensions,
) -> Response {
    let prefix = RootPath::of(&extensions);
    reply::json(StatusCode::OK, &openapi::document(&app, &selected, &prefix))
}
