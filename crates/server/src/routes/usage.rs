//! `GET /usage`: what API keys have spent and what they have left.

use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::limits::KeyUsage;

use super::keys;
use crate::app::App;
use crate::openapi::{KEYS, Operation};
use crate::refusal::Refusal;
use crate::request::caller::Caller;
use crate::views::fault::FaultEntry;
use crate::views::reply;

const KEY_NOT_FOUND: Refusal = Refusal::NotFound("Key not found");

pub(crate) fn docs() -> Operation {
    Operation::new(
        KEYS,
        "Usage and limits",
        "What a key has spent today and in the last 30 days, its limits, and when they renew. A key sees its own \
         usage; a key with the scope `admin` sees that of all keys, or of the one it names.",
    )
    .query("key", "The id of a key: only its usage.", &json!({ "type": "string" }))
    .answers::<Usages>(200, "The usage of each key.")
    .finds("There is no such key.")
    .refuses(409, "No API keys are in use.")
    .validates()
    .may_be_unavailable()
}

/// What API keys have spent, and what they have left.
#[derive(Serialize, JsonSchema)]
struct Usages {
    keys: Vec<KeyUsage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    key: Option<String>,
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Refusal> {
    let access = keys::access(&app)?;
    let Ok(Query(Parameters { key: wanted })) = Query::try_from_uri(&uri) else {
        return Err(FaultEntry::unreadable_query(&uri).into());
    };
    let wanted = match (caller.sees_jobs_of(), wanted) {
        (Some(own), Some(wanted)) if *own != *wanted => return Err(KEY_NOT_FOUND),
        (Some(own), _) => Some(own.to_string()),
        (None, wanted) => wanted,
    };
    let keys = app.service().usage(access, wanted.as_deref()).await;
    let keys = keys.map_err(|error| Refusal::store_failed(&error))?;
    if keys.is_empty() && wanted.is_some() {
        return Err(KEY_NOT_FOUND);
    }
    Ok(reply::json(StatusCode::OK, &Usages { keys }))
}
