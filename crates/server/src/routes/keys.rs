//! What the endpoints for API keys share.

use std::sync::Arc;

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use lang::fault::{PathSegment, shortened};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use service::access::{Access, IssuedKey, KeyError, KeyView};

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::views::fault::FaultEntry;
use crate::views::reply;

/// The API keys. Managing them over HTTP requires that some are in use already: otherwise anyone
/// could create the first one and lock everyone else out.
pub(super) fn access(app: &App) -> Result<&Arc<Access>, Refusal> {
    app.access().ok_or_else(|| {
        let detail = "This server was started without API keys. Make the first one while it is stopped \
                      (`flowmill keys create --scope admin --store …`), or set FLOWMILL_API_KEYS.";
        ProblemAnswer::of_request(StatusCode::CONFLICT, "keys_off", detail).into()
    })
}

/// An API key that is new or has a new secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct MadeKey<'a> {
    /// The whole key. It is not shown again.
    key: &'a str,
    #[serde(flatten)]
    view: &'a KeyView,
    /// What may not be intended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The answer to creating or rotating a key: the only one that holds the whole key.
pub(super) fn made(status: StatusCode, made: &IssuedKey, warnings: Vec<String>) -> Response {
    let shown = MadeKey {
        key: made.key.reveal(),
        view: &made.view,
        warnings,
    };
    let mut answer = reply::json(status, &shown);
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(super) fn refused(error: &KeyError) -> Refusal {
    let conflict = |code| {
        ProblemAnswer::of_request(
            StatusCode::CONFLICT,
            code,
            format!("{}.", capitalized(error)),
        )
        .into()
    };
    match error {
        KeyError::NotFound => Refusal::NotFound("Key not found"),
        KeyError::Revoked => conflict("key_revoked"),
        KeyError::Expired => conflict("key_expired"),
        KeyError::Listed => conflict("key_listed"),
        KeyError::Invalid(_) => {
            FaultEntry::body("value_error", Vec::new(), error.to_string(), Value::Null).into()
        }
        KeyError::Store(error) => Refusal::store_failed(error),
    }
}

fn capitalized(error: &KeyError) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// A fault of a member of the body. The value is not repeated: it may be a key sent by mistake.
pub(super) fn fault(kind: &'static str, member: &str, message: &str) -> FaultEntry {
    FaultEntry::body(
        kind,
        vec![shortened(&PathSegment::Key(member.to_owned()))],
        message,
        Value::Null,
    )
}
