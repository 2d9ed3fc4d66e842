//! The checked workflow: the only thing the engine executes. Every name in it is resolved, every type
//! parsed, every condition type-checked; a value of these types cannot be wrong. What a caller's inputs
//! and a model's answer become is in `inputs` and `outputs`, their schemas in `json_schema`.

mod inputs;
mod json_schema;
mod node;
mod outputs;
mod rules;

use std::time::Duration;

use crate::expr::Condition;
use crate::privacy::Sensitive;
use crate::types::Type;
use crate::value::Value;

pub use inputs::InitialState;
pub use node::{
    CodeNode, LlmSettings, ModelNode, Node, NodeInput, NodeKind, PROVIDERS, Tool, is_variable_name,
};

/// Position of a field in [`Workflow::fields`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub usize);

/// Position of a node in [`Workflow::nodes`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub usize);

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
    /// Cross-field rules.
    pub rules: Vec<Rule>,
    /// In file order.
    pub nodes: Vec<Node>,
    /// Where START leads.
    pub start: Vec<Target>,
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
    /// Parts that are checked but that this version cannot execute yet. A run is refused while any is listed.
    pub unsupported: Vec<Unsupported>,
}

/// A state field, an inner field of an object, or a field of an object output.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// As declared.
    pub name: String,
    /// Parsed.
    pub ty: Type,
    /// The caller must give it.
    pub required: bool,
    /// Already coerced; `None` means no default.
    pub default: Option<Value>,
    /// For `/schema`.
    pub description: Option<String>,
    /// Its value is shown nowhere but in the run's own result.
    pub sensitive: bool,
    /// Beyond the type.
    pub constraints: Constraints,
    /// Custom checks (`value` is the field's value). State fields only.
    pub checks: Vec<Rule>,
    /// Nodes that write it. State fields only.
    pub written_by: Vec<NodeId>,
}

/// Limits on a field's value beyond its type.
#[derive(Debug, Clone, Default)]
pub struct Constraints {
    /// A regular expression searched for in a text (anchored only where it says so).
    pub pattern: Option<regex::Regex>,
    /// Characters.
    pub min_length: Option<usize>,
    /// Characters.
    pub max_length: Option<usize>,
    /// Inclusive.
    pub minimum: Option<f64>,
    /// Inclusive.
    pub maximum: Option<f64>,
    /// The allowed values, coerced.
    pub allowed: Option<Vec<Value>>,
    /// A named text format.
    pub format: Option<Format>,
    /// Items of a list or entries of a dict.
    pub min_items: Option<usize>,
    /// Items of a list or entries of a dict.
    pub max_items: Option<usize>,
}

/// Text formats a field can ask for, named as in JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are JSON Schema's")]
pub enum Format {
    Date,
    DateTime,
    Time,
    Email,
    Uri,
    Uuid,
    Ipv4,
    Ipv6,
}

/// `additional_inputs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdditionalInputs {
    /// Unknown inputs are dropped.
    #[default]
    Allow,
    /// Unknown inputs are faults (`extra_forbidden`).
    Forbid,
}

/// A condition that must hold, and what to say when it does not.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Must hold.
    pub condition: Condition,
    /// The condition as written.
    pub text: String,
    /// The author's message, or one made from the condition.
    pub message: String,
    /// State fields it reads.
    pub reads: Vec<FieldId>,
}

/// A node's output schema together with the state fields it writes.
#[derive(Debug, Clone)]
pub struct Output {
    /// In the order of `output_schema.fields`; exactly one, named `result`, when `wrapped`.
    /// Each carries its state field's constraints and checks.
    pub fields: Vec<OutputField>,
    /// The schema is no object: the model is asked for `{"result": …}`.
    pub wrapped: bool,
    /// `output_schema.description`.
    pub description: Option<String>,
}

/// One value a node produces.
#[derive(Debug, Clone)]
pub struct OutputField {
    /// The key in the model's answer.
    pub key: String,
    /// Type, description and constraints.
    pub field: Field,
    /// The state field it goes to.
    pub target: FieldId,
}

/// Where an edge leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// That branch ends.
    End,
    /// A node.
    Node(NodeId),
}

/// Everything that leaves one node. All parts apply: unconditional edges all fire, conditional ones
/// and routes choose one target each, the loop chooses, the fan-out runs.
#[derive(Debug, Clone, Default)]
pub struct Exits {
    /// Unconditional edges. With `conditional` present they fire only when no condition holds.
    pub always: Vec<Target>,
    /// Edges with a condition, in file order: the first that holds.
    pub conditional: Vec<(Condition, Vec<Target>)>,
    /// `routes`.
    pub routes: Option<Routes>,
    /// `loop` on the edge.
    pub repeat: Option<EdgeLoop>,
    /// `parallel` over the items of a list.
    pub fan_out: Option<FanOut>,
}

/// A routes edge.
#[derive(Debug, Clone)]
pub struct Routes {
    /// In file order, the default left out.
    pub cases: Vec<(Condition, Target)>,
    /// When no condition holds.
    pub default: Target,
}

/// A loop edge: after each execution of the node, leave if the field is true, else run it again.
#[derive(Debug, Clone)]
pub struct EdgeLoop {
    /// A bool field.
    pub until: FieldId,
    /// Executions at most, 1 to 100.
    pub max_iterations: u32,
    /// Where to go then.
    pub exit_to: Target,
}

/// The node form of a loop: repeat until the condition or the bound, then leave by the ordinary edges.
#[derive(Debug, Clone)]
pub struct Repeat {
    /// Leave when it holds; without one, only the bound ends it.
    pub until: Option<Condition>,
    /// Executions at most, 1 to 100.
    pub max_iterations: u32,
    /// A failing iteration ends the loop with the last good result instead of failing the run (`break_on_error`).
    pub break_on_error: bool,
}

/// Runs a node once per item of a list and gathers the results in order.
#[derive(Debug, Clone)]
pub struct FanOut {
    /// A list field.
    pub items: FieldId,
    /// Run once per item; its own exits are followed once, afterwards.
    pub target: NodeId,
    /// A list field.
    pub collect: FieldId,
    /// More items fail the run before any of them is run.
    pub max_items: usize,
}

/// `config.observability.mlflow` and `config.mlflow`, as far as it is not about privacy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracking {
    /// `experiment_name`.
    pub experiment: Option<String>,
    /// `artifact_level`: `minimal`, `standard` or `full`.
    pub artifact_level: Option<String>,
}

/// `config.execution`.
#[derive(Debug, Clone)]
pub struct Execution {
    /// Longest time for one node's model call, each attempt of it (default 120 s).
    pub timeout: Duration,
    /// Attempts per node, at least 1 (default 3).
    pub max_attempts: u32,
}

/// `budget`; `None` means unlimited.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Budget {
    /// US dollars.
    pub max_cost_usd: Option<f64>,
    /// Input and output tokens together.
    pub max_tokens: Option<u64>,
    /// Attempts at a model.
    pub max_llm_calls: Option<u64>,
}

/// `config.gates` and `optimization.quality_gates`.
#[derive(Debug, Clone, Default)]
pub struct Gates {
    /// Checked after the last node.
    pub gates: Vec<Gate>,
    /// What a failed gate does that does not say so itself.
    pub on_fail: OnGateFail,
}

/// One quality gate.
#[derive(Debug, Clone)]
pub struct Gate {
    /// `duration_ms`, `cost_usd`, `total_tokens`; any other is never measured and so fails.
    pub metric: String,
    /// Fails above.
    pub max: Option<f64>,
    /// Fails below.
    pub min: Option<f64>,
    /// What its failure does, over [`Gates::on_fail`].
    pub on_fail: Option<OnGateFail>,
}

/// `on_fail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGateFail {
    /// Logged and reported.
    #[default]
    Warn,
    /// The run fails.
    Fail,
    /// The run succeeds; deploying is refused.
    BlockDeploy,
}

/// How much of what a run says and is told telemetry may keep.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum CaptureLevel {
    /// Nothing, not even how much there was. Times, tokens and costs are counted all the same.
    None,
    /// Sizes, names and kinds, but no content.
    Metadata,
    /// The content.
    #[default]
    Full,
}

/// What telemetry may keep: of a workflow as a whole, or of one of its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// Of everything.
    pub level: CaptureLevel,
    /// Content of prompts and answers (`log_prompts`).
    pub prompts: bool,
    /// Artifacts at all (`log_artifacts`).
    pub artifacts: bool,
}

impl Default for Capture {
    /// Everything.
    fn default() -> Self {
        Self {
            level: CaptureLevel::Full,
            prompts: true,
            artifacts: true,
        }
    }
}

/// A part of the file that this version checks but cannot execute.
#[derive(Debug, Clone)]
pub struct Unsupported {
    /// Dotted key path.
    pub path: String,
    /// Such as "tools (node `search`)".
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

impl Field {
    /// An optional field without default, constraints or checks.
    pub fn named(name: impl Into<String>, ty: Type) -> Self {
        Self {
            name: name.into(),
            ty,
            required: false,
            default: None,
            description: None,
            sensitive: false,
            constraints: Constraints::default(),
            checks: Vec::new(),
            written_by: Vec::new(),
        }
    }
}

impl PartialEq for Constraints {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_ref().map(regex::Regex::as_str)
            == other.pattern.as_ref().map(regex::Regex::as_str)
            && (
                self.min_length,
                self.max_length,
                self.min_items,
                self.max_items,
            ) == (
                other.min_length,
                other.max_length,
                other.min_items,
                other.max_items,
            )
            && (self.minimum, self.maximum) == (other.minimum, other.maximum)
            && self.allowed == other.allowed
            && self.format == other.format
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.message == other.message
    }
}
