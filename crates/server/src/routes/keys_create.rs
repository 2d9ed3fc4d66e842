//! `POST /keys`: creates an API key, which is shown once.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use lang::fault::ENOUGH;
use serde_json::{Map, Value, json};
use service::access::{Grants, NewKey, Scope};
use service::limits::Limits;

use super::keys::{self, fault};
use crate::app::App;
use crate::openapi::{Component, KEYS, Operation, reference};
use crate::refusal::Refusal;
use crate::request::{body, number};
use crate::views::fault::FaultEntry;

pub(crate) fn docs() -> Operation {
    Operation::new(
        KEYS,
        "Create a key",
        "Creates an API key. The answer holds the whole key; it is not shown again.",
    )
    .takes(Component::written("KeyRequest", schema))
    .answers::<keys::MadeKey<'_>>(201, "The new key.")
    .refuses(413, "The body is too large.")
    .validates()
    .may_be_unavailable()
}

pub(crate) async fn handle(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&app, &parts.headers, body).await?;
    let access = keys::access(&app)?;
    let new = read(
        body::json_object(&app, &parts.headers, &bytes)
            .await?
            .members,
    )?;
    let made = access
        .create(new)
        .await
        .map_err(|error| keys::refused(&error))?;
    let catalog = app.service().catalog();
    let workflows = made.view.grants.workflows.iter().flatten();
    let warnings = workflows
        .filter(|name| catalog.get(name).is_none())
        .map(|name| format!("this server serves no workflow `{name}`"))
        .collect();
    Ok(keys::made(StatusCode::CREATED, &made, warnings))
}

/// Reads `{name, scopes?, workflows?, limits?, expires_at?}`. Every fault is in the one refusal.
pub(crate) fn read(mut members: Map<String, Value>) -> Result<NewKey, Refusal> {
    let mut faults: Vec<FaultEntry> = Vec::new();
    let mut take = |key: &str| members.shift_remove(key).filter(|value| !value.is_null());
    let (name, scopes) = (take("name"), take("scopes"));
    let (workflows, expires_at) = (take("workflows"), take("expires_at"));
    let limits = take("limits");

    let name = match name {
        Some(Value::String(name)) => name,
        Some(_) => {
            faults.push(fault(
                "string_type",
                "name",
                "Input should be a valid string",
            ));
            String::new()
        }
        None => {
            faults.push(fault("missing", "name", "Field required"));
            String::new()
        }
    };
    let mut grants = Grants::default();
    if let Some(scopes) = scopes {
        let scopes = texts(&scopes).and_then(|texts| {
            texts
                .iter()
                .map(|text| text.parse::<Scope>().ok())
                .collect()
        });
        match scopes {
            Some(scopes) => grants.scopes = scopes,
            None => faults.push(fault(
                "enum",
                "scopes",
                "Input should be a list of 'run', 'read', 'metrics' and 'admin'",
            )),
        }
    }
    if let Some(workflows) = workflows {
        match texts(&workflows) {
            Some(names) => grants.workflows = Some(names.into_iter().collect()),
            None => faults.push(fault(
                "list_type",
                "workflows",
                "Input should be a list of names",
            )),
        }
    }
    if let Some(limits) = limits {
        match limits_of(limits) {
            Some(limits) => grants.limits = limits,
            None => faults.push(fault(
                "value_error",
                "limits",
                "Input should be an object of 'requests_per_minute', 'max_running', 'max_queued', 'tokens_per_day' \
                 (whole numbers) and 'cost_per_day_usd'",
            )),
        }
    }
    let expires_at = expires_at.and_then(|at| {
        let read = at.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        if read.is_none() {
            faults.push(fault(
                "datetime_parsing",
                "expires_at",
                "Input should be an RFC 3339 timestamp",
            ));
        }
        read
    });
    for key in members.keys().take(ENOUGH) {
        faults.push(fault(
            "extra_forbidden",
            key,
            "Extra inputs are not permitted",
        ));
    }
    if faults.is_empty() {
        Ok(NewKey {
            name,
            grants,
            expires_at,
        })
    } else {
        Err(Refusal::Invalid(faults))
    }
}

/// The schema of what [`read`] reads.
fn schema() -> Value {
    json!({
        "type": "object",
        "description": "An API key that is to be created.",
        "required": ["name"],
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 100, "pattern": NAME, "description": "For people." },
            "scopes": {
                "type": ["array", "null"],
                "items": { "enum": Scope::ALL.map(Scope::as_str) },
                "minItems": 1,
                "default": ["run", "read"],
            },
            "workflows": {
                "type": ["array", "null"],
                "items": { "type": "string" },
                "minItems": 1,
                "description": "The workflows that the key may use; null for all.",
            },
            "limits": { "anyOf": [reference("Limits"), { "type": "null" }] },
            "expires_at": { "type": ["string", "null"], "format": "date-time" },
        },
        "additionalProperties": false,
    })
}

/// The pattern of names: at least one visible character, and no control characters.
const NAME: &str = "^[^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u001F\\u007F-\\u009F]*$";

/// Reads limits strictly: an unknown name, which could be a misspelt limit, is not ignored.
fn limits_of(mut value: Value) -> Option<Limits> {
    let known = serde_json::to_value(Limits::default()).ok()?;
    let known = known.as_object()?;
    for (name, limit) in value.as_object_mut()? {
        if !known.contains_key(name) {
            return None;
        }
        if let Some(whole) = number::whole(limit) {
            *limit = whole.into();
        }
    }
    serde_json::from_value(value).ok()
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let texts = value.as_array()?.iter();
    texts.map(|text| text.as_str().map(str::to_owned)).collect()
}
