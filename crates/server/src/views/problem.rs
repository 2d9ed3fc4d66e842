//! The bodies of refusals.

use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::Value;
use service::problem::Problem;

use super::fault::FaultEntry;

/// Why a request was refused, in a few words.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Detail<'a> {
    pub(crate) detail: &'a str,
}

/// Every fault of a request.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ValidationFaults<'a> {
    pub(crate) detail: &'a [FaultEntry],
}

/// Something that went wrong (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem", transform = instance_is_required)]
pub(crate) struct ProblemDocument<'a> {
    #[serde(flatten)]
    pub(crate) problem: &'a Problem,
    /// The faults of the request, if that is the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<FaultEntry>")]
    pub(crate) errors: Option<&'a [FaultEntry]>,
}

/// It is set before the problem is sent.
fn instance_is_required(schema: &mut Schema) {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.push("instance".into());
    }
}
