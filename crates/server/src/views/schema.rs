//! The fields of a workflow's state, as clients of the Python original know them.

use std::collections::BTreeMap;

use lang::workflow::{Field, Workflow};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// The fields of a workflow's state, by name.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Fields<'a> {
    workflow: &'a str,
    /// `{type, required, default, description}` of each.
    #[serde(serialize_with = "by_name")]
    #[schemars(with = "BTreeMap<String, Map<String, Value>>")]
    inputs: &'a [Field],
    outputs: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Of a workflow. Every state field is an input, and every one an output, in declaration order.
    pub(crate) fn of(workflow: &'a Workflow) -> Self {
        Self {
            workflow: &workflow.name,
            inputs: &workflow.fields,
            outputs: workflow
                .fields
                .iter()
                .map(|field| field.name.as_str())
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct Input<'a> {
    r#type: String,
    required: bool,
    default: Option<&'a Value>,
    description: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    sensitive: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

fn by_name<S: Serializer>(fields: &[Field], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|field| {
        let input = Input {
            r#type: field.ty.to_string(),
            required: field.required,
            default: field.default.as_ref(),
            description: field.description.as_deref().unwrap_or_default(),
            sensitive: field.sensitive,
        };
        (&field.name, input)
    }))
}
