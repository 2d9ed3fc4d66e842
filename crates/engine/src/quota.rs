//! What a caller may still spend. A budget limits one run; a quota limits all runs of one caller
//! together.
//!
//! A model call reserves the most that it can take before it is made, and settles what it took
//! afterwards. So branches, items, attempts and runs that go on at the same time cannot exceed
//! together a limit that each of them keeps.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
pub use llm::tokens::DEFAULT_ANSWER_TOKENS;

use crate::outcome::{Failure, FailureCode, NodeUsage};

/// What a call takes: the most that it can take, or what it took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CallUsage {
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// US dollars; `None` where the model has no known price.
    pub cost_usd: Option<f64>,
}

impl CallUsage {
    /// All tokens.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl From<&NodeUsage> for CallUsage {
    fn from(usage: &NodeUsage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cost_usd: usage.cost_usd,
        }
    }
}

/// Why a call is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// For people. Follows `Node x: `.
    pub reason: String,
    /// The same call may be allowed later.
    pub retryable: bool,
}

/// Allows calls as long as the caller can pay for them.
#[async_trait]
pub trait Quota: Send + Sync + Debug {
    /// Reserves the most that a call can take. Waits as long as calls in flight decide whether it
    /// fits, and refuses a call that would not fit whatever they take.
    async fn reserve(&self, model: &str, most: &CallUsage) -> Result<(), Refused>;

    /// Releases a reservation, and counts what the call took.
    fn settle(&self, reserved: &CallUsage, taken: &CallUsage);

    /// Releases a reservation for a call that took nothing.
    fn give_back(&self, reserved: &CallUsage);
}

/// A reservation for one call. It is released when it is dropped.
pub(crate) struct QuotaReservation {
    /// `None` once the call is settled.
    quota: Option<Arc<dyn Quota>>,
    most: CallUsage,
}

impl QuotaReservation {
    /// Reserves a call of that node.
    pub(crate) async fn before(
        quota: &Arc<dyn Quota>,
        node: &str,
        model: &str,
        most: &CallUsage,
    ) -> Result<Self, Failure> {
        if let Err(refused) = quota.reserve(model, most).await {
            let failure = Failure::of_node(FailureCode::QuotaExhausted, node, refused.reason);
            return Err(Failure {
                retryable: refused.retryable,
                ..failure
            });
        }
        Ok(Self {
            quota: Some(quota.clone()),
            most: *most,
        })
    }

    /// Counts what the call took.
    pub(crate) fn settle(mut self, taken: &CallUsage) {
        if let Some(quota) = self.quota.take() {
            quota.settle(&self.most, taken);
        }
    }
}

impl Drop for QuotaReservation {
    fn drop(&mut self) {
        if let Some(quota) = self.quota.take() {
            quota.give_back(&self.most);
        }
    }
}
