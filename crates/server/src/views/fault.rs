//! One fault of a request, as `FastAPI` lists it.

use axum::http::Uri;
use lang::fault::{Fault, FaultKind, PathSegment};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

/// A fault of a request, and where it is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Fault")]
pub(crate) struct FaultEntry {
    /// The broken rule, for programs.
    r#type: &'static str,
    /// The path to the faulty part of the request.
    #[schemars(schema_with = "path_schema")]
    loc: Vec<PathSegment>,
    /// A sentence for people.
    msg: String,
    /// What was given there.
    input: Value,
    /// The parameters of the broken rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    ctx: Option<Value>,
}

fn path_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": ["string", "integer"] } })
}

impl FaultEntry {
    /// A fault of the part of the body that `path` leads to; an empty path is the whole body.
    pub(crate) fn body(
        kind: &'static str,
        path: Vec<PathSegment>,
        message: impl Into<String>,
        input: Value,
    ) -> Self {
        Self {
            r#type: kind,
            loc: within(&["body"], path),
            msg: message.into(),
            input,
            ctx: None,
        }
    }

    /// A fault of a header, named in lower case, or of a query parameter.
    pub(crate) fn parameter(
        place: ParameterLocation,
        name: &str,
        kind: &'static str,
        message: impl Into<String>,
        input: &str,
    ) -> Self {
        Self {
            r#type: kind,
            loc: within(&[place.name(), name], Vec::new()),
            msg: message.into(),
            input: input.into(),
            ctx: None,
        }
    }

    /// The fault of a query that cannot be read as parameters.
    pub(crate) fn unreadable_query(uri: &Uri) -> Self {
        let message = "The query cannot be read: a parameter is given twice or is not text";
        let query = uri.query().unwrap_or_default();
        Self::parameter(ParameterLocation::Query, "", "value_error", message, query)
    }

    /// An input's fault. `place` leads to the object that holds the inputs.
    pub(crate) fn input(fault: Fault, place: &[&str]) -> Self {
        Self {
            // The name for a request's own object, as pydantic tells them apart.
            r#type: if fault.kind == FaultKind::ModelType {
                "model_attributes_type"
            } else {
                fault.kind.as_str()
            },
            loc: within(place, fault.path),
            msg: fault.message,
            input: fault.input,
            ctx: fault.context,
        }
    }

    /// Adds the parameters of the broken rule.
    pub(crate) fn with_context(mut self, context: Value) -> Self {
        self.ctx = Some(context);
        self
    }

    /// Appends how to mend it to the message.
    pub(crate) fn with_advice(mut self, advice: &str) -> Self {
        self.msg = format!("{}: {advice}", self.msg);
        self
    }

    /// A sentence that sums up all faults.
    pub(crate) fn summary(entries: &[Self]) -> String {
        match entries {
            [only] => format!("{}: {}.", only.place(), only.msg),
            [first, rest @ ..] => format!(
                "{}: {} (and {} more).",
                first.place(),
                first.msg,
                rest.len()
            ),
            [] => "The request does not fit.".into(),
        }
    }

    fn place(&self) -> String {
        self.loc
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(".")
    }
}

/// The part of a request that holds a parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ParameterLocation {
    Header,
    Query,
}

impl ParameterLocation {
    fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Query => "query",
        }
    }
}

fn within(place: &[&str], path: Vec<PathSegment>) -> Vec<PathSegment> {
    place
        .iter()
        .map(|segment| PathSegment::Key((*segment).to_owned()))
        .chain(path)
        .collect()
}
