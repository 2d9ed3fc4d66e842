//! `GET /openapi.json`: the `OpenAPI` document of this workflow.

use axum::extract::State;
use axum::http::{Extensions, StatusCode};
use axum::response::Response;
use serde_json::json;

use crate::app::App;
use crate::openapi::endpoint::Scope;
use crate::openapi::{self, Operation, Options, SERVER};
use crate::request::workflow::SelectedWorkflow;
use crate::root_path::RootPath;
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
    let options = Options {
        scope: if selected.by_name {
            Scope::Named
        } else {
            Scope::Root
        },
        is_only: app.has_root_paths(),
        has_keys: app.access().is_some(),
    };
    let mut document = openapi::document(app.endpoints(), &selected.loaded, options);
    // Without servers, paths begin at the root of the server that gave the document.
    let root_path = RootPath::of(&extensions);
    if !root_path.as_str().is_empty() {
        document["servers"] = json!([{ "url": root_path.as_str() }]);
    }
    reply::json(StatusCode::OK, &document)
}
