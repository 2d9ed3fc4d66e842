//! `DELETE /keys/{key_id}`: revokes an API key, at once and permanently.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use service::access::KeyView;

use super::keys;
use crate::app::App;
use crate::openapi::{KEYS, Operation};
use crate::refusal::Refusal;
use crate::request::workflow::path_parameter;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        KEYS,
        "Revoke a key",
        "Revokes the key permanently. Its jobs stay visible to keys with the scope `admin`.",
    )
    .answers::<KeyView>(200, "The revoked key.")
    .finds("There is no such key.")
    .refuses(
        409,
        "The key is already revoked, or was not made through this API.",
    )
    .may_be_unavailable()
}

pub(crate) async fn handle(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let id = path_parameter(&mut parts, "key_id")
        .await
        .unwrap_or_default();
    let access = keys::access(&app)?;
    let view = access
        .revoke(&id)
        .await
        .map_err(|error| keys::refused(&error))?;
    Ok(reply::json(StatusCode::OK, &view))
}
