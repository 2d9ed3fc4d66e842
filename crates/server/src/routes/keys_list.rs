//! `GET /keys`: lists the API keys, without their secrets.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use service::access::KeyView;

use super::keys;
use crate::app::App;
use crate::openapi::{KEYS, Operation};
use crate::refusal::Refusal;
use crate::views::reply;

pub(crate) fn docs() -> Operation {
    Operation::new(
        KEYS,
        "List keys",
        "Lists all API keys, revoked and expired ones too, without their secrets.",
    )
    .answers::<Keys>(200, "All keys.")
    .may_be_unavailable()
}

/// All API keys.
#[derive(Serialize, JsonSchema)]
struct Keys {
    keys: Vec<KeyView>,
}

pub(crate) async fn handle(State(app): State<App>) -> Result<Response, Refusal> {
    let keys = keys::access(&app)?
        .list()
        .await
        .map_err(|error| keys::refused(&error))?;
    Ok(reply::json(StatusCode::OK, &Keys { keys }))
}
