//! What a job keeps of its request beside inputs and deadline.

use engine::watch::Origin;
use jobs::job::Workload;
use jobs::json::Json;
use lang::workflow::Budget;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunOptions {
    max_cost_usd: Option<f64>,
    max_tokens: Option<u64>,
    max_llm_calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tool_calls: Option<u64>,
    pub(crate) stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_parent: Option<String>,
}

impl RunOptions {
    pub(crate) fn new(budget: &Budget, stream: bool, origin: Origin) -> Self {
        let Budget {
            max_cost_usd,
            max_tokens,
            max_llm_calls,
            max_tool_calls,
        } = *budget;
        Self {
            max_cost_usd,
            max_tokens,
            max_llm_calls,
            max_tool_calls,
            stream,
            waits_ms: origin.waits_ms,
            trace_parent: origin.parent.map(|parent| parent.to_string()),
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            waits_ms: self.waits_ms,
            parent: self
                .trace_parent
                .as_deref()
                .and_then(|text| text.parse().ok()),
        }
    }

    pub(crate) fn budget(&self) -> Budget {
        let Self {
            max_cost_usd,
            max_tokens,
            max_llm_calls,
            max_tool_calls,
            ..
        } = *self;
        Budget {
            max_cost_usd,
            max_tokens,
            max_llm_calls,
            max_tool_calls,
        }
    }

    /// The options of a stored job.
    pub(crate) fn of(work: &Workload) -> Self {
        let options = work.options.as_ref();
        options
            .and_then(|json| json.read().ok())
            .unwrap_or_default()
    }

    /// For a retry of a job: all options but where its request came from.
    pub(crate) fn again(work: &Workload) -> Option<Json> {
        Self {
            waits_ms: None,
            trace_parent: None,
            ..Self::of(work)
        }
        .to_json()
    }

    /// `None` where every option has its default.
    pub(crate) fn to_json(&self) -> Option<Json> {
        (*self != Self::default()).then(|| Json::of(self))
    }
}
