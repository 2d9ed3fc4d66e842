//! The tools that a model may call, and which it must. The calls themselves are parts of a turn.

use std::sync::Arc;

use serde_json::Value;

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDefinition {
    /// At most 64 of `[A-Za-z0-9_-]`, which every provider takes; unique in a request.
    pub name: Arc<str>,
    /// For the model.
    pub description: Option<Arc<str>>,
    /// The JSON Schema of the arguments: an object.
    pub schema: Arc<Value>,
}

/// Whether the model must call a tool. Means nothing in a request without tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// It must call at least one.
    Required,
    /// It must call the tool of this name.
    Tool(String),
}
