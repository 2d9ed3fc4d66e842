//! A step of the workflow: what all steps share, and the kinds of steps there are.

use super::exits::{Exits, Repeat};
use super::llm::LlmSettings;
use super::output::Output;
use super::settings::Capture;
use super::tools::{Tool, ToolUse};
use crate::template::{Template, ValueTemplate};

/// One step of the workflow.
#[derive(Debug, Clone)]
pub struct Node {
    /// The name of the node, unique in the workflow.
    pub id: String,
    /// What it does, for people.
    pub description: Option<String>,
    /// The node's own variables, evaluated over the state before the node does its work.
    pub inputs: Vec<NodeInput>,
    /// What it has to produce.
    pub output: Output,
    /// What it does to produce that.
    pub kind: NodeKind,
    /// Where to go afterwards.
    pub exits: Exits,
    /// Times the node may run in a row by itself (node form of `loop`).
    pub repeat: Option<Repeat>,
    /// What telemetry may keep of its prompts, answers and tool data: its own setting, else the
    /// workflow's.
    pub capture: Capture,
}

/// What a node does to produce its outputs.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Asks a model.
    Model(ModelNode),
    /// Runs code; not executed yet (see [`Workflow::unsupported`](super::Workflow::unsupported)).
    Code(CodeNode),
    /// Calls a tool; not executed yet (see [`Workflow::unsupported`](super::Workflow::unsupported)).
    Tool(ToolNode),
}

/// A node that asks a model.
#[derive(Debug, Clone)]
pub struct ModelNode {
    /// What the model is asked, over the state and the node's inputs.
    pub prompt: Template,
    /// Instructions that come before the prompt; not sent yet (see
    /// [`Workflow::unsupported`](super::Workflow::unsupported)).
    pub system: Option<Template>,
    /// `llm` of the node over `config.llm`, key by key.
    pub llm: LlmSettings,
    /// Tools offered to the model; not executed yet (see
    /// [`Workflow::unsupported`](super::Workflow::unsupported)).
    pub tools: ToolUse,
}

/// A node that runs code. Its prompt and its model settings are checked, but have no effect.
#[derive(Debug, Clone)]
pub struct CodeNode {
    /// The code as written; never empty.
    pub source: String,
}

/// A node that calls a tool once, without a model. Its outputs are keys of the result.
#[derive(Debug, Clone)]
pub struct ToolNode {
    /// A built-in tool or one of an MCP server.
    pub tool: Tool,
    /// The arguments, over the state and the node's inputs; names and literal values are checked
    /// where the tool is built in.
    pub args: Vec<(String, ValueTemplate)>,
}

impl NodeKind {
    /// What is asked, if this kind of node asks a model.
    pub fn model(&self) -> Option<&ModelNode> {
        match self {
            Self::Model(model) => Some(model),
            Self::Code(_) | Self::Tool(_) => None,
        }
    }
}

/// A node's own variable.
#[derive(Debug, Clone)]
pub struct NodeInput {
    /// Visible as `{name}` in the node's templates.
    pub name: String,
    /// Its value, a template over the state only.
    pub template: Template,
}
