//! What whoever pays for a run may still spend. A run's own `budget` is the workflow's and the request's;
//! a quota spans all runs of somebody, at the same time and one after the other.
//!
//! A call reserves before it is made what it takes at most, and settles afterwards what it took. So
//! branches, items, attempts and runs at the same time cannot spend together what each alone could.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
pub use llm::tokens::DEFAULT_ANSWER_TOKENS;

use crate::outcome::{Failure, FailureCode, NodeUsage};

/// What a call takes: at most, or in fact.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Taken {
    /// Of the prompt.
    pub input_tokens: u64,
    /// Of the answer.
    pub output_tokens: u64,
    /// US dollars; `None` where the model has no known price.
    pub cost_usd: Option<f64>,
}

impl Taken {
    /// All tokens.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl From<&NodeUsage> for Taken {
    fn from(usage: &NodeUsage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cost_usd: usage.cost_usd,
        }
    }
}

/// Why a call may not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// For people: goes on from `Node x: `.
    pub reason: String,
    /// The same call may be made later.
    pub retryable: bool,
}

/// Lets calls be made as long as they can be paid for.
#[async_trait]
pub trait Quota: Send + Sync + Debug {
    /// Sets aside what a call takes at most. Waits while that depends on what calls under way will have
    /// taken; refuses where it would be too much whatever they take.
    async fn reserve(&self, model: &str, most: &Taken) -> Result<(), Refused>;

    /// Gives back what was set aside, and counts what was taken.
    fn settle(&self, reserved: &Taken, taken: &Taken);

    /// Gives back what was set aside for a call that the provider did not do.
    fn give_back(&self, reserved: &Taken);
}

/// What is set aside for one call; given back when it is dropped.
pub(crate) struct QuotaReservation {
    /// `None` once it is settled.
    quota: Option<Arc<dyn Quota>>,
    most: Taken,
}

impl QuotaReservation {
    /// For a call of that node.
    pub(crate) async fn before(
        quota: &Arc<dyn Quota>,
        node: &str,
        model: &str,
        most: &Taken,
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

    /// It is known what the call took.
    pub(crate) fn settle(mut self, taken: &Taken) {
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
