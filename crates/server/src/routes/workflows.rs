//! `GET /workflows`: lists the workflows.

use axum::extract::State;
use axum::http::{Extensions, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::openapi::{Operation, SERVER};
use crate::request::caller::Caller;
use crate::root_path::RootPath;
use crate::views::overview::Listed;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        SERVER,
        "Workflows",
        "Lists the workflows that are served and that the caller may use, with their paths.",
    )
    .answers::<Workflows<'_>>(200, "The workflows.")
}

/// The workflows that are served.
#[derive(Serialize, JsonSchema)]
struct Workflows<'a> {
    workflows: Vec<Listed<'a>>,
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    extensions: Extensions,
) -> Response {
    let root = RootPath::of(&extensions);
    let all = app.service().catalog().all();
    reply::json(
        StatusCode::OK,
        &Workflows {
            workflows: all
                .iter()
                .filter(|loaded| caller.may_use(&loaded.name))
                .map(|loaded| Listed::of(loaded, &root))
                .collect(),
        },
    )
}
