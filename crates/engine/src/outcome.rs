//! How a run ended, what it cost, and why it failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Totals of a run and of each node. Every job and answer carries it as `usage`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Of these, read from the provider's cache.
    pub cached_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// Attempts at a model, failed ones included.
    pub llm_calls: u64,
    /// US dollars; `null` as soon as one reply has no known price. An attempt without a reply costs nothing.
    pub cost_usd: Option<f64>,
    /// Some of the counts, and so of the costs, are estimates: a provider left them out, or a call was
    /// broken off before they came.
    #[serde(
        rename = "estimated",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_estimated: bool,
    /// Version of the price table that costs were worked out by; `null` where none was used.
    #[serde(default)]
    pub price_table: Option<Arc<str>>,
    /// By node id; only nodes that asked a model.
    pub nodes: BTreeMap<String, NodeUsage>,
}

impl Usage {
    /// Adds what one execution of a node took.
    pub(crate) fn add(&mut self, node: &str, taken: &NodeUsage) {
        self.input_tokens += taken.input_tokens;
        self.cached_tokens += taken.cached_tokens;
        self.output_tokens += taken.output_tokens;
        self.llm_calls += taken.llm_calls;
        self.cost_usd = sum(self.cost_usd, taken.cost_usd);
        self.is_estimated |= taken.is_estimated;
        if taken.llm_calls > 0 {
            self.nodes.entry(node.to_owned()).or_default().add(taken);
        }
    }
}

/// Unknown as soon as a part of it is.
pub(crate) fn sum(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.zip(b).map(|(a, b)| a + b)
}

impl Default for Usage {
    /// Nothing spent yet: a known cost of zero.
    fn default() -> Self {
        Self {
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            llm_calls: 0,
            cost_usd: Some(0.0),
            is_estimated: false,
            price_table: None,
            nodes: BTreeMap::new(),
        }
    }
}

/// What one node took: all its executions together, or one of them where an event carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeUsage {
    /// `provider/model` that answered last.
    pub model: Option<Arc<str>>,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Of these, cached.
    pub cached_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// Attempts.
    pub llm_calls: u64,
    /// `null` where unknown.
    pub cost_usd: Option<f64>,
    /// As in [`Usage`].
    #[serde(
        rename = "estimated",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_estimated: bool,
}

impl Default for NodeUsage {
    /// Nothing spent yet: a known cost of zero.
    fn default() -> Self {
        Self {
            model: None,
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            llm_calls: 0,
            cost_usd: Some(0.0),
            is_estimated: false,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The whole final state.
    Completed {
        /// Every field by name.
        outputs: Arc<Map<String, Value>>,
    },
    /// It failed; nothing is returned from it.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// What it took, failed runs too.
    pub usage: Arc<Usage>,
    /// Wall time of the run, the time before a resumption included.
    pub execution_time_ms: u64,
    /// Gates that failed with `warn` or `block_deploy`.
    pub gate_warnings: Vec<String>,
    /// The outputs as anybody but the caller may see them; `None` where no field is sensitive.
    pub masked_outputs: Option<Arc<Map<String, Value>>>,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Which rule; see [`FailureCode`].
    pub code: FailureCode,
    /// One plain sentence, naming the node: safe to show to a caller.
    pub message: String,
    /// The node, where there is one.
    pub node: Option<String>,
    /// Whose fault: `workflow`, `provider` or `server`.
    pub source: FailureSource,
    /// The same run may succeed later.
    pub retryable: bool,
}

impl Failure {
    /// What the run itself knows of a problem document: `{code, detail, retryable, error_source, node?}`.
    /// Whoever answers over HTTP adds `type`, `title` and `status`.
    pub fn problem(&self) -> Value {
        let mut problem = json!({
            "code": self.code,
            "detail": self.message,
            "retryable": self.retryable,
            "error_source": self.source,
        });
        if let Some(node) = &self.node {
            problem["node"] = json!(node);
        }
        problem
    }

    /// A failure of the workflow as a whole: the same run would fail again.
    pub(crate) fn of_workflow(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            node: None,
            source: FailureSource::Workflow,
            retryable: false,
        }
    }

    /// A failure of one node, for which its author is to blame.
    pub(crate) fn of_node(code: FailureCode, node: &str, reason: impl std::fmt::Display) -> Self {
        Self {
            code,
            message: format!("Node `{node}`: {reason}"),
            node: Some(node.to_owned()),
            source: FailureSource::Workflow,
            retryable: false,
        }
    }
}

/// Whose fault a failure is; decides the HTTP status (500, or 502/504 for a provider).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FailureSource {
    Workflow,
    Provider,
    Server,
}

/// `problem.code` of a failed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// A placeholder had no value.
    PlaceholderUnresolved,
    /// The answer did not fit the node's schema, after all attempts.
    OutputInvalid,
    /// The model call failed (not retryable, or attempts used up).
    ModelError,
    /// The last attempt ran into the node's time limit.
    ModelTimeout,
    /// A model is not set up (no key, unknown provider).
    ModelConfig,
    /// No condition held and there is no unconditional edge.
    NoRoute,
    /// Two branches of one step wrote one field.
    WriteConflict,
    /// A gate with `on_fail: fail`.
    GateFailed,
    /// A `state.rules` assertion no longer holds.
    RuleFailed,
    /// The run's deadline.
    DeadlineExceeded,
    /// `budget`.
    BudgetExceeded,
    /// What whoever pays may spend is used up.
    QuotaExhausted,
    /// A fan-out over more items than it may have.
    TooManyItems,
    /// More steps than any sane workflow takes (see `run::MAX_STEPS`).
    StepLimit,
    /// Uses a part this version cannot execute.
    NotSupported,
    /// A bug or the machine: not the workflow's fault.
    Internal,
}
