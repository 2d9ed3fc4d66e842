//! What whoever pays for a run may still spend. A run's own `budget` is the workflow's and the request's;
//! a quota spans all runs of somebody, at the same time and one after the other.
//!
//! A call reserves before it is made what it takes at most, and settles afterwards what it took. So
//! branches, items, attempts and runs at the same time cannot spend together what each alone could.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use llm::chat::ChatRequest;
use llm::error::ErrorKind;
use llm::model::ChatModel;

use crate::outcome::{Failure, FailureCode, NodeUsage};
use crate::plan::NodePlan;

/// Tokens that an answer is taken to have at most where its node sets no `max_tokens`.
pub const DEFAULT_ANSWER_TOKENS: u32 = 4_096;

/// Bytes of text that make a token at least, in any script: English has four, Chinese three.
const BYTES_PER_TOKEN: usize = 3;

/// What goes around prompt and schema, in tokens.
const ENVELOPE_TOKENS: u64 = 64;

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

/// What a call takes at most: estimated from its text, and by the node's `max_tokens`.
fn most(model: &dyn ChatModel, request: &ChatRequest, schema_bytes: usize) -> Taken {
    let messages: usize = request.messages.iter().map(|one| one.text.len()).sum();
    let text = (messages + schema_bytes).div_ceil(BYTES_PER_TOKEN);
    let input_tokens = u64::try_from(text)
        .unwrap_or(u64::MAX)
        .saturating_add(ENVELOPE_TOKENS);
    let output_tokens = u64::from(request.max_tokens.unwrap_or(DEFAULT_ANSWER_TOKENS));
    Taken {
        input_tokens,
        output_tokens,
        cost_usd: model.cost_usd(input_tokens, output_tokens),
    }
}

/// What is set aside for one call.
pub(crate) struct Reserved {
    /// `None` once it is settled.
    quota: Option<Arc<dyn Quota>>,
    most: Taken,
    /// Of the prompt alone.
    prompt_cost_usd: Option<f64>,
    begun: bool,
}

impl Reserved {
    /// For a call of that node; `None` where there is no quota.
    pub(crate) async fn before(
        quota: Option<&Arc<dyn Quota>>,
        node: &NodePlan,
        model: &dyn ChatModel,
        request: &ChatRequest,
    ) -> Result<Option<Self>, Failure> {
        let Some(quota) = quota else {
            return Ok(None);
        };
        let most = most(model, request, node.schema_bytes);
        if let Err(refused) = quota.reserve(model.name(), &most).await {
            let failure = Failure::of_node(FailureCode::QuotaExhausted, &node.id, refused.reason);
            return Err(Failure {
                retryable: refused.retryable,
                ..failure
            });
        }
        Ok(Some(Self {
            quota: Some(quota.clone()),
            prompt_cost_usd: model.cost_usd(most.input_tokens, 0),
            most,
            begun: false,
        }))
    }

    /// The call is being made.
    pub(crate) fn begun(mut self) -> Self {
        self.begun = true;
        self
    }

    /// The model answered.
    pub(crate) fn settle(mut self, usage: &NodeUsage) {
        if let Some(quota) = self.quota.take() {
            let taken = Taken {
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
                cost_usd: usage.cost_usd,
            };
            quota.settle(&self.most, &taken);
        }
    }

    /// It did not. Where the provider may have done its work all the same, the prompt counts.
    pub(crate) fn failed(&mut self, kind: ErrorKind) {
        self.begun = matches!(kind, ErrorKind::Timeout | ErrorKind::BadReply);
        self.release();
    }

    fn release(&mut self) {
        let Some(quota) = self.quota.take() else {
            return;
        };
        if self.begun {
            let prompt = Taken {
                output_tokens: 0,
                cost_usd: self.prompt_cost_usd,
                ..self.most
            };
            quota.settle(&self.most, &prompt);
        } else {
            quota.give_back(&self.most);
        }
    }
}

impl Drop for Reserved {
    /// Dropped in the middle of a call, the prompt counts: nobody knows what the provider did, and to break
    /// calls off must not make them free.
    fn drop(&mut self) {
        self.release();
    }
}
