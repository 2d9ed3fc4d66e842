//! What holds for runs as a whole.

use std::time::Duration;

/// `additional_inputs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdditionalInputs {
    /// Unknown inputs are dropped.
    #[default]
    Allow,
    /// Unknown inputs are faults (`extra_forbidden`).
    Forbid,
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
    /// Most US dollars that a run may cost.
    pub max_cost_usd: Option<f64>,
    /// Most input and output tokens together.
    pub max_tokens: Option<u64>,
    /// Most attempts at asking a model.
    pub max_llm_calls: Option<u64>,
    /// Most calls of tools.
    pub max_tool_calls: Option<u64>,
}

/// `config.gates` and `optimization.quality_gates`.
#[derive(Debug, Clone, Default)]
pub struct Gates {
    /// Checked after the last node.
    pub gates: Vec<Gate>,
    /// What a failed gate does that has no `on_fail` of its own.
    pub on_fail: OnGateFail,
}

/// One quality gate.
#[derive(Debug, Clone)]
pub struct Gate {
    /// `duration_ms`, `cost_usd`, `total_tokens`; any other is never measured and so fails.
    pub metric: String,
    /// The gate fails above it.
    pub max: Option<f64>,
    /// The gate fails below it.
    pub min: Option<f64>,
    /// What its failure does, over [`Gates::on_fail`].
    pub on_fail: Option<OnGateFail>,
}

/// `on_fail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGateFail {
    /// The failure is logged and reported.
    #[default]
    Warn,
    /// The run fails.
    Fail,
    /// The run succeeds; deploying is refused.
    BlockDeploy,
}

/// How much of the content of a run telemetry may keep.
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
    /// How much is kept of any content.
    pub level: CaptureLevel,
    /// Whether the content of prompts and answers is kept (`log_prompts`).
    pub prompts: bool,
    /// Whether artifacts are kept (`log_artifacts`).
    pub artifacts: bool,
}

impl Default for Capture {
    /// Keeps everything.
    fn default() -> Self {
        Self {
            level: CaptureLevel::Full,
            prompts: true,
            artifacts: true,
        }
    }
}
