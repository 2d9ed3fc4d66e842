//! `GET /schema`: the workflow's inputs and outputs, in the shape of the Python original or as JSON
//! Schemas.

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::openapi::{Operation, RUN};
use crate::refusal::Refusal;
use crate::request::workflow::SelectedWorkflow;
use crate::views::fault::{FaultEntry, ParameterLocation};
use crate::views::{reply, schema};

pub(crate) fn docs() -> Operation {
    Operation::new(
        RUN,
        "Inputs and outputs",
        "The inputs and outputs of the workflow.",
    )
    .query(
        "format",
        "`fields`, or `json-schema` for JSON Schemas (2020-12).",
        &json!({ "enum": ["fields", "json-schema"], "default": "fields" }),
    )
    .answers(200, "The fields, or two JSON Schemas.", "SchemaAnswer")
    .validates()
}

#[derive(Deserialize)]
struct Options {
    format: Option<String>,
}

#[derive(Serialize)]
struct JsonSchemas<'a> {
    input: &'a Value,
    output: &'a Value,
}

pub(crate) async fn handle(
    SelectedWorkflow { loaded, .. }: SelectedWorkflow,
    uri: Uri,
) -> Result<Response, Refusal> {
    let Ok(Query(Options { format })) = Query::try_from_uri(&uri) else {
        return Err(FaultEntry::unreadable_query(&uri).into());
    };
    match format.as_deref() {
        None | Some("fields") => Ok(reply::json(
            StatusCode::OK,
            &schema::Fields::of(&loaded.workflow),
        )),
        Some("json-schema") => Ok(reply::json(
            StatusCode::OK,
            &JsonSchemas {
                input: &loaded.input_schema,
                output: &loaded.output_schema,
            },
        )),
        Some(other) => Err(FaultEntry::parameter(
            ParameterLocation::Query,
            "format",
            "enum",
            "Input should be 'fields' or 'json-schema'",
            other,
        )
        .into()),
    }
}
