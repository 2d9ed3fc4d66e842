//! Tools in Gemini's JSON.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chat::ToolChoice;
use crate::providers::schema::{self, Rules};
use crate::providers::tools::{SentTool, Tools};

/// `responseJsonSchema`, a subset of JSON Schema that newer models take.
pub(super) const JSON_SCHEMA: Rules = Rules {
    keywords: &[
        "type",
        "description",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "anyOf",
        "enum",
        "format",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
    ],
    formats: &["date-time", "date", "time"],
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeclaredTools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters_json_schema: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig<'a> {
    function_calling_config: CallingConfig<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallingConfig<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_function_names: Option<[&'a str; 1]>,
}

/// A tool's schema. All models take JSON Schema here.
pub(super) fn fit(schema: &Value) -> Value {
    schema::restrict(schema, &JSON_SCHEMA)
}

/// The tools, and which of them must be called.
pub(super) fn declare<'a>(
    tools: &'a Tools<'_>,
) -> (Option<[DeclaredTools<'a>; 1]>, Option<ToolConfig<'a>>) {
    if tools.is_empty() {
        return (None, None);
    }
    let declared = DeclaredTools {
        function_declarations: tools.sent().map(declaration).collect(),
    };
    let forced = |allowed_function_names| ToolConfig {
        function_calling_config: CallingConfig {
            mode: "ANY",
            allowed_function_names,
        },
    };
    let config = match tools.choice() {
        ToolChoice::Auto => None,
        ToolChoice::Required => Some(forced(None)),
        ToolChoice::Tool(name) => Some(forced(Some([name.as_str()]))),
    };
    (Some([declared]), config)
}

fn declaration(tool: SentTool<'_>) -> Declaration<'_> {
    Declaration {
        name: tool.name,
        description: tool.description,
        parameters_json_schema: tool.schema,
    }
}
