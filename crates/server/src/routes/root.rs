//! `GET /`: the playground for browsers, an overview of what is served for other clients.

use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::Response;

use crate::app::App;
use crate::openapi::{Content, Operation, SERVER};
use crate::request::accept;
use crate::request::caller::Caller;
use crate::root_path::RootPath;
use crate::ui;
use crate::views::overview::Overview;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        SERVER,
        "Overview",
        "What is served and where. Browsers get a page to try it out.",
    )
    .responds(
        200,
        "The overview, or the page.",
        [Content::json::<Overview<'_>>(), Content::text("text/html")],
    )
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let root = RootPath::of(&extensions);
    if accept::prefers(&headers, accept::HTML, accept::JSON) {
        return ui::playground("./", "");
    }
    let only = app.service().catalog().only();
    match only.filter(|only| caller.may_use(&only.name)) {
        Some(only) => reply::json(StatusCode::OK, &Overview::of(&only, &root, "")),
        None => reply::json(StatusCode::OK, &Overview::of_several(&root)),
    }
}
