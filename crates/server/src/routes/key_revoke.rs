//! `DELETE /keys/{key_id}`: makes an API key worthless, at once and for ever.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

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
        "It lets nobody in any more. Its jobs stay, for keys with the scope admin.",
    )
    .answers(200, "The key as it is now.", "Key")
    .finds("No such key.")
    .refuses(409, "It was revoked before, or is not the store's.")
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
