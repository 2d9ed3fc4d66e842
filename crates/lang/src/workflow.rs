//! The checked workflow: the only thing the engine executes. Every name in it is resolved, every
//! type parsed, every condition type-checked; a value of these types cannot be wrong. What a
//! caller's inputs become is in `inputs`, what a model's answer becomes in `output`, their schemas
//! in `json_schema`.

mod exits;
mod inputs;
mod json_schema;
mod llm;
mod masking;
mod node;
mod output;
mod rules;
mod servers;
mod settings;
mod tools;

use crate::privacy::Sensitive;
use crate::value::Value;

pub use crate::field::{Constraints, Field, Format};
pub use crate::ids::{FieldId, NodeId};
pub use crate::rule::Rule;
pub use exits::{EdgeLoop, Exits, FanOut, Repeat, Routes, Target};
pub use llm::{FallbackModel, FallbackReason, LlmSettings, PROVIDERS, Sampling, is_variable_name};
pub use node::{CodeNode, ModelNode, Node, NodeInput, NodeKind, ToolNode};
pub use output::{Output, OutputField};
pub use servers::{EnvironmentPiece, FromEnvironment, McpServer, McpTransport};
pub use settings::{
    AdditionalInputs, Budget, Capture, CaptureLevel, Execution, Gate, Gates, OnGateFail, Tracking,
};
pub use tools::{
    AnswerBy, Approval, Effects, MAX_RESULT_CHARS, OnLimit, Tool, ToolChoice, ToolFilter,
    ToolOptions, ToolSource, ToolUse,
};

/// Inputs that were accepted: the initial state, one value per field.
pub type InitialState = Vec<Value>;

/// A workflow without a fault.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// `flow.name`, trimmed.
    pub name: String,
    /// `flow.version`.
    pub version: Option<String>,
    /// `flow.description`.
    pub description: Option<String>,
    /// SHA-256 of the source text, in hex. Pins the definition of a job.
    pub definition_hash: String,
    /// The state, in declaration order.
    pub fields: Vec<Field>,
    /// Whether inputs that are no field are dropped or refused.
    pub additional_inputs: AdditionalInputs,
    /// The rules that hold across fields.
    pub rules: Vec<Rule>,
    /// The steps, in file order.
    pub nodes: Vec<Node>,
    /// The nodes that a run begins with, or the end.
    pub start: Vec<Target>,
    /// `mcp_servers`, in file order; not used yet (see [`Self::unsupported`]).
    pub mcp_servers: Vec<McpServer>,
    /// `config.execution`.
    pub execution: Execution,
    /// `budget`.
    pub budget: Budget,
    /// `config.gates`.
    pub gates: Gates,
    /// Where and how runs are tracked.
    pub tracking: Tracking,
    /// `config.observability`: what telemetry may keep of the run as a whole.
    pub capture: Capture,
    /// Where its state holds sensitive values; `None` where no field is sensitive.
    pub sensitive: Option<Sensitive>,
    /// Parts that are checked but that this version cannot execute yet. A workflow with any of them
    /// cannot be run.
    pub unsupported: Vec<Unsupported>,
}

/// A part of the file that this version checks but cannot execute.
#[derive(Debug, Clone)]
pub struct Unsupported {
    /// Where it is in the file: a dotted key path.
    pub path: String,
    /// What it is, for messages: "tools (node `search`)".
    pub what: String,
}

impl Workflow {
    /// The node of that name.
    pub fn node(&self, id: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.id == id).map(NodeId)
    }

    /// The state field of that name.
    pub fn field(&self, name: &str) -> Option<FieldId> {
        self.fields
            .iter()
            .position(|field| field.name == name)
            .map(FieldId)
    }
}
