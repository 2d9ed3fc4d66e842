//! `GET /openapi.json`: the `OpenAPI` document of this workflow.

use axum::extract::State;
use axum::http::{Extensions, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::app::App;
use crate::openapi::endpoint::Scope;
use crate::openapi::{Component, Content, Operation, Options, SERVER};
use crate::request::workflow::SelectedWorkflow;
use crate::root_path::RootPath;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(SERVER, "OpenAPI", "This document.").responds(
        200,
        "An OpenAPI 3.1 document.",
        [Content::of(
            "application/json",
            Component::written("OpenApi", schema),
        )],
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
    let mut document = app.documentation().document(&selected.loaded, options);
    // Without servers, paths begin at the root of the server that gave the document.
    let root_path = RootPath::of(&extensions);
    if !root_path.as_str().is_empty() {
        document["servers"] = json!([{ "url": root_path.as_str() }]);
    }
    reply::json(StatusCode::OK, &document)
}

/// The schema of such a document, as far as it is worth describing.
fn schema() -> Value {
    json!({
        "type": "object",
        "description": "A document like this one.",
        "required": ["openapi", "info", "paths"],
        "properties": {
            "openapi": { "const": "3.1.0" },
            "info": { "type": "object" },
            "paths": { "type": "object" },
        },
    })
}
