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
