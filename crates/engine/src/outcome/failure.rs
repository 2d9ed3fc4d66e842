//! Why a run failed, and whose fault it is.

use llm::error::ErrorKind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// `problem.code`.
    pub code: FailureCode,
    /// One sentence that names the node and says what to do. Safe to show to a caller.
    pub message: String,
    /// The node, where there is one.
    pub node: Option<String>,
    /// Whose fault: `workflow`, `provider` or `server`.
    pub source: FailureSource,
    /// The same run may succeed later.
    pub retryable: bool,
    /// What cut off the answer that did not fit. Not part of any document.
    #[serde(skip)]
    pub cut_off: Option<CutOff>,
}

impl Failure {
    /// The run's part of a problem document: `{code, detail, retryable, error_source, node?}`. The
    /// HTTP answer adds `type`, `title` and `status`.
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
            cut_off: None,
        }
    }

    /// A failure of one node that the workflow's author can mend.
    pub(crate) fn of_node(code: FailureCode, node: &str, reason: impl std::fmt::Display) -> Self {
        Self {
            code,
            message: format!("Node `{node}`: {reason}"),
            node: Some(node.to_owned()),
            source: FailureSource::Workflow,
            retryable: false,
            cut_off: None,
        }
    }

    /// The failure that a model's error becomes after that many attempts. Their number comes first,
    /// because text after the model's own sentence reads as advice. `suffix` is added at the end.
    pub(crate) fn of_model(node: &str, error: &llm::Error, attempts: u32, suffix: &str) -> Self {
        let (code, source) = match error.kind {
            // What the operator of this process has set up, or has not.
            ErrorKind::Config => (FailureCode::ModelConfig, FailureSource::Server),
            ErrorKind::Auth | ErrorKind::QuotaExhausted | ErrorKind::NoRecording => {
                (FailureCode::ModelError, FailureSource::Server)
            }
            // What the workflow asked for.
            ErrorKind::ContextTooLong | ErrorKind::ContentFilter | ErrorKind::BadRequest => {
                (FailureCode::ModelError, FailureSource::Workflow)
            }
            ErrorKind::Timeout => (FailureCode::ModelTimeout, FailureSource::Provider),
            ErrorKind::RateLimit
            | ErrorKind::Overloaded
            | ErrorKind::Network
            | ErrorKind::BadReply => (FailureCode::ModelError, FailureSource::Provider),
        };
        let message = error.message.trim_end_matches('.');
        let after = if attempts > 1 {
            format!("after {attempts} attempts: ")
        } else {
            String::new()
        };
        Self {
            source,
            retryable: error.kind.is_retryable(),
            ..Self::of_node(code, node, format_args!("{after}{message}{suffix}"))
        }
    }
}

/// What ends an answer before it is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutOff {
    /// The node's `max_tokens`.
    MaxTokens,
    /// The model's own output limit.
    OutputLimit,
    /// The model's context window, filled by prompt and answer.
    ContextWindow,
    /// The provider's content filter.
    ContentFilter,
}

impl CutOff {
    /// Whether the next answer will most likely be cut off as well.
    pub(crate) fn is_limit(self) -> bool {
        match self {
            Self::MaxTokens | Self::OutputLimit | Self::ContextWindow => true,
            Self::ContentFilter => false,
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
    /// The last call took longer than the node's time limit.
    ModelTimeout,
    /// A model is not set up (no key, unknown provider).
    ModelConfig,
    /// No condition held and there is no unconditional edge.
    NoRoute,
    /// Two branches would write one field in the same step.
    WriteConflict,
    /// A gate with `on_fail: fail` failed.
    GateFailed,
    /// A `state.rules` assertion no longer holds.
    RuleFailed,
    /// The run was stopped at its deadline.
    DeadlineExceeded,
    /// The run's `budget` is used up.
    BudgetExceeded,
    /// The caller's quota is used up.
    QuotaExhausted,
    /// A fan-out has more items than allowed.
    TooManyItems,
    /// More steps than any reasonable workflow takes (see `run::MAX_STEPS`).
    StepLimit,
    /// The workflow uses a part that this version cannot execute.
    NotSupported,
    /// A bug or the machine: not the workflow's fault.
    Internal,
}
