//! `POST /keys/{key_id}/rotate`: gives an API key a new secret, which is shown once.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use lang::fault::ENOUGH;
use serde_json::{Value, json};
use service::access::LONGEST_GRACE;

use super::keys::{self, fault};
use crate::app::App;
use crate::openapi::{Component, KEYS, Operation};
use crate::refusal::Refusal;
use crate::request::workflow::path_parameter;
use crate::request::{body, number};

pub(crate) fn docs() -> Operation {
    Operation::new(KEYS, "Rotate a key", "Gives the key a new secret. Its id stays, and so do its jobs. The old secret is valid for `grace_seconds` more, at most 30 days.")
        .takes_optionally(Component::written("RotateRequest", schema))
        .answers::<keys::MadeKey<'_>>(200, "The key with its new secret.")
        .finds("There is no such key.")
        .refuses(409, "The key is revoked, has expired, or was not made through this API.")
        .refuses(413, "The body is too large.")
        .validates()
        .may_be_unavailable()
}

pub(crate) async fn handle(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let bytes = body::read(&app, &parts.headers, body).await?;
    let access = keys::access(&app)?;
    let id = path_parameter(&mut parts, "key_id")
        .await
        .unwrap_or_default();
    let grace = if bytes.is_empty() {
        Duration::ZERO
    } else {
        grace(&body::json_object(&app, &parts.headers, &bytes).await?)?
    };
    let made = access
        .rotate(&id, grace)
        .await
        .map_err(|error| keys::refused(&error))?;
    Ok(keys::made(StatusCode::OK, &made, Vec::new()))
}

/// The schema of what [`grace`] reads.
fn schema() -> Value {
    json!({
        "type": "object",
        "description": "How long the old secret stays valid.",
        "properties": {
            "grace_seconds": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": LONGEST_GRACE.as_secs(),
                "default": 0,
            },
        },
        "additionalProperties": false,
    })
}

/// `{grace_seconds?}`.
pub(crate) fn grace(body: &body::Object) -> Result<Duration, Refusal> {
    let mut faults = Vec::new();
    let unknown = body.members.keys().filter(|key| *key != "grace_seconds");
    for key in unknown.take(ENOUGH) {
        faults.push(fault(
            "extra_forbidden",
            key,
            "Extra inputs are not permitted",
        ));
    }
    let grace = match body.members.get("grace_seconds") {
        None => Some(Duration::ZERO),
        Some(seconds) if seconds.is_null() => Some(Duration::ZERO),
        Some(seconds) => number::whole(seconds)
            .map(Duration::from_secs)
            .filter(|grace| *grace <= LONGEST_GRACE),
    };
    match grace {
        Some(grace) if faults.is_empty() => Ok(grace),
        Some(_) => Err(Refusal::Invalid(faults)),
        None => {
            let message = "Input should be a whole number of seconds, at most 30 days";
            faults.push(fault("int_parsing", "grace_seconds", message));
            Err(Refusal::Invalid(faults))
        }
    }
}
