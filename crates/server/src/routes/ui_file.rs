//! `GET /ui/{file}`: the files that the pages load.

use axum::extract::Request;
use axum::response::Response;

use crate::refusal::Refusal;
use crate::request::workflow::path_parameter;
use crate::ui;

pub(crate) async fn handle(request: Request) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let name = path_parameter(&mut parts, "file").await.unwrap_or_default();
    ui::file(&name, &parts.headers).ok_or(Refusal::NotFound("Not Found"))
}
