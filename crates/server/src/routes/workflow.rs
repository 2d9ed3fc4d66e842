//! `GET /workflows/{name}`: one workflow, as [`super::root`] shows the only one.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::openapi::{Operation, SERVER, named_prefix};
use crate::request::accept;
use crate::request::workflow::Selected;
use crate::ui;
use crate::views::overview::Overview;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        SERVER,
        "One workflow",
        "Its paths; a page to try it out for a browser.",
    )
    .responds(
        200,
        "The overview, or the page.",
        &[("application/json", "Overview"), ("text/html", "string")],
    )
    .finds("No such workflow.")
}

pub(crate) async fn handle(Selected { loaded, .. }: Selected, headers: HeaderMap) -> Response {
    if accept::prefers(&headers, accept::HTML, accept::JSON) {
        return ui::playground("../", &loaded.name);
    }
    reply::json(
        StatusCode::OK,
        &Overview::of(&loaded, &named_prefix(&loaded.name)),
    )
}
