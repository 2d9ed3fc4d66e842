//! `GET /schema`: the workflow's inputs and outputs, in the shape of the Python original or as JSON
//! Schemas.

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

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
    .answers::<SchemaAnswer<'_>>(200, "The fields, or two JSON Schemas.")
    .validates()
}

#[derive(Deserialize)]
struct Options {
    format: Option<String>,
}

/// The fields or the JSON Schemas, as they were asked for.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum SchemaAnswer<'a> {
    Fields(schema::Fields<'a>),
    JsonSchemas(JsonSchemas<'a>),
}

/// Two JSON Schemas (2020-12).
#[derive(Serialize, JsonSchema)]
struct JsonSchemas<'a> {
    #[schemars(with = "Map<String, Value>")]
    input: &'a Value,
    #[schemars(with = "Map<String, Value>")]
    output: &'a Value,
}

pub(crate) async fn handle(
    SelectedWorkflow { loaded, .. }: SelectedWorkflow,
    uri: Uri,
) -> Result<Response, Refusal> {
    let Ok(Query(Options { format })) = Query::try_from_uri(&uri) else {
        return Err(FaultEntry::unreadable_query(&uri).into());
    };
    let answer = match format.as_deref() {
        None | Some("fields") => SchemaAnswer::Fields(schema::Fields::of(&loaded.workflow)),
        Some("json-schema") => SchemaAnswer::JsonSchemas(JsonSchemas {
            input: &loaded.input_schema,
            output: &loaded.output_schema,
        }),
        Some(other) => {
            return Err(FaultEntry::parameter(
                ParameterLocation::Query,
                "format",
                "enum",
                "Input should be 'fields' or 'json-schema'",
                other,
            )
            .into());
        }
    };
    Ok(reply::json(StatusCode::OK, &answer))
}
