//! `GET /workflows/{name}`: one workflow, as [`super::root`] shows the only one.

use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::Response;

use crate::openapi::{Content, Operation, SERVER};
use crate::paths::named_prefix;
use crate::refusal::Refusal;
use crate::request::accept;
use crate::request::workflow::{PageWorkflow, SelectedWorkflow};
use crate::root_path::RootPath;
use crate::ui;
use crate::views::overview::Overview;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        SERVER,
        "One workflow",
        "The workflow and its paths. Browsers get a page to try it out.",
    )
    .responds(
        200,
        "The overview, or the page.",
        [Content::json::<Overview<'_>>(), Content::text("text/html")],
    )
    .finds("There is no such workflow.")
}

pub(crate) async fn handle(
    page: PageWorkflow,
    selected: Result<SelectedWorkflow, Refusal>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    if accept::prefers(&headers, accept::HTML, accept::JSON) {
        return Ok(ui::playground("../", &page.name.unwrap_or_default()));
    }
    let loaded = selected?.loaded;
    Ok(reply::json(
        StatusCode::OK,
        &Overview::of(
            &loaded,
            &RootPath::of(&extensions),
            &named_prefix(&loaded.name),
        ),
    ))
}
