//! Tokens, calls and costs of a run and of each of its nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use llm::chat::ChatReply;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The tokens and costs of a run, in total and by node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = price_table_may_be_missing)]
pub struct Usage {
    /// Prompt tokens.
    pub input_tokens: u64,
    /// The part of `input_tokens` that the provider read from its cache.
    pub cached_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// Model calls, including failed ones.
    pub llm_calls: u64,
    /// US dollars; `null` as soon as one reply has no known price. A call without a reply costs
    /// nothing.
    pub cost_usd: Option<f64>,
    /// Some of the counts, and so some of the costs, are estimates: a provider left them out, or a
    /// call was aborted before they arrived.
    #[serde(
        rename = "estimated",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_estimated: bool,
    /// Version of the price table that the costs are based on; `null` where none was used.
    #[serde(default)]
    pub price_table: Option<Arc<str>>,
    /// By node id. Only nodes that called a model.
    pub nodes: BTreeMap<String, NodeUsage>,
}

/// Jobs that an earlier version stored have none.
fn price_table_may_be_missing(schema: &mut Schema) {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "price_table");
    }
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

/// The tokens and costs of a node: of all its executions, or of one execution in an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeUsage {
    /// `provider/model` of the last reply.
    pub model: Option<Arc<str>>,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// The part of `input_tokens` that the provider read from its cache.
    pub cached_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// Model calls, including failed ones.
    pub llm_calls: u64,
    /// US dollars; `null` where unknown.
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

impl NodeUsage {
    /// What one reply took. The call itself was counted when it was reserved.
    pub(crate) fn of(reply: &ChatReply) -> Self {
        Self {
            model: Some([&reply.provider, "/", &reply.model].concat().into()),
            input_tokens: reply.usage.input_tokens,
            cached_tokens: reply.usage.cached_tokens,
            output_tokens: reply.usage.output_tokens,
            llm_calls: 0,
            cost_usd: reply.cost_usd,
            is_estimated: reply.usage.is_estimated,
        }
    }

    /// Adds what another part of the node took. Keeps the model of the last reply.
    pub(crate) fn add(&mut self, taken: &Self) {
        if taken.model.is_some() {
            self.model.clone_from(&taken.model);
        }
        self.input_tokens += taken.input_tokens;
        self.cached_tokens += taken.cached_tokens;
        self.output_tokens += taken.output_tokens;
        self.llm_calls += taken.llm_calls;
        self.cost_usd = sum(self.cost_usd, taken.cost_usd);
        self.is_estimated |= taken.is_estimated;
    }
}

/// A sum is unknown as soon as one part is.
fn sum(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.zip(b).map(|(a, b)| a + b)
}
