//! What a node may call, and within which bounds.

use std::time::Duration;

use crate::value::{Map, Value};

/// Tools offered to a node's model, and how it may use them.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolUse {
    /// In file order, each built-in name at most once; empty where the node has no tools.
    pub offered: Vec<Tool>,
    /// What the model must do in its first turn.
    pub choice: ToolChoice,
    /// Most calls of the model for one execution of the node, at least 1.
    pub max_turns: u32,
    /// Most calls of tools for one execution of the node.
    pub max_tool_calls: u32,
    /// Most calls of one turn that run at the same time, at least 1.
    pub parallel: u32,
    /// What happens at either limit.
    pub on_limit: OnLimit,
    /// How the model gives its answer.
    pub answer_by: AnswerBy,
}

impl Default for ToolUse {
    fn default() -> Self {
        Self {
            offered: Vec::new(),
            choice: ToolChoice::Auto,
            max_turns: 10,
            max_tool_calls: 50,
            parallel: 4,
            on_limit: OnLimit::Answer,
            answer_by: AnswerBy::Tool,
        }
    }
}

/// An entry of `tools`, or the tool of a tool node.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// What is called.
    pub source: ToolSource,
    /// How calls are made.
    pub options: ToolOptions,
}

/// Where a tool comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolSource {
    /// One of [`crate::tools::BUILT_IN`].
    BuiltIn(String),
    /// The tools of an MCP server.
    Mcp {
        /// A name of [`Workflow::mcp_servers`](super::Workflow::mcp_servers).
        server: String,
        /// Which of them.
        filter: ToolFilter,
    },
    /// One tool of an MCP server, by its own name.
    McpTool {
        /// A name of [`Workflow::mcp_servers`](super::Workflow::mcp_servers).
        server: String,
        /// The tool's name at that server.
        tool: String,
    },
    /// Another workflow; not executed yet (see
    /// [`Workflow::unsupported`](super::Workflow::unsupported)).
    Workflow {
        /// As written.
        file: String,
    },
}

/// Names of tools at an MCP server; `*` stands for any characters and `?` for one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolFilter {
    /// Patterns of which one must fit; empty for all tools.
    pub include: Vec<String>,
    /// Patterns of which none may fit.
    pub exclude: Vec<String>,
}

/// How calls of a tool are made.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOptions {
    /// Whether the node goes on when a call fails (`on_error: continue`).
    pub continue_on_error: bool,
    /// Longest time for one call; `None` for the tool's own.
    pub timeout: Option<Duration>,
    /// Further attempts at a call that failed and is safe to repeat.
    pub retries: u32,
    /// What repeating a call does; `None` for the tool's own.
    pub effects: Option<Effects>,
    /// Who must agree to a call.
    pub approval: Approval,
    /// Addresses it may call, with `*`; empty for all that the operator allows.
    pub allow: Vec<String>,
    /// Most characters of a result that a model is shown.
    pub max_result_chars: usize,
    /// The settings of the tool.
    pub config: Map<String, Value>,
}

/// `max_result_chars` where none is given.
pub const MAX_RESULT_CHARS: usize = 20_000;

impl Default for ToolOptions {
    fn default() -> Self {
        Self {
            continue_on_error: false,
            timeout: None,
            retries: 0,
            effects: None,
            approval: Approval::Never,
            allow: Vec::new(),
            max_result_chars: MAX_RESULT_CHARS,
            config: Map::new(),
        }
    }
}

/// What a second call with the same arguments does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effects {
    /// A call changes nothing.
    None,
    /// A second call changes nothing more.
    Idempotent,
    /// A call must not be made twice.
    Once,
}

/// `approval`; anything but [`Approval::Never`] is not executed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Approval {
    /// Calls are made at once.
    #[default]
    Never,
    /// A person must agree to some calls, or to all.
    Asked,
}

/// `tool_choice`, for the first turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// It must call some tool.
    Required,
    /// It must call this tool, by the name it sees.
    Tool(String),
}

/// `on_limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLimit {
    /// The model is asked once more, without tools.
    Answer,
    /// The node fails.
    Fail,
}

/// `answer_by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerBy {
    /// By calling a tool whose arguments are the node's outputs.
    Tool,
    /// By structured output beside the tools.
    Format,
}
