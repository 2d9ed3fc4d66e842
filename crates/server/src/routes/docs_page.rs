//! `GET /docs`: the `OpenAPI` document as a page, which loads nothing from other servers.

use axum::response::Response;

use crate::openapi::{Content, Operation, SERVER};
use crate::request::workflow::PageWorkflow;
use crate::ui;

pub(crate) fn docs() -> Operation {
    Operation::new(SERVER, "Documentation", "This document as a page.").responds(
        200,
        "A page.",
        [Content::text("text/html")],
    )
}

pub(crate) async fn handle(page: PageWorkflow) -> Response {
    ui::docs(if page.name.is_some() { "../../" } else { "./" })
}
