//! The accounting of one model call. Before the call, the most that it can take is reserved with
//! the run's budget and, where there is one, with the caller's quota. After the call, both are told
//! what it took. A call that was aborted is estimated.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use llm::chat::{ChatReply, ChatRequest};
use llm::error::Spent;
use llm::model::ChatModel;
use llm::tokens::{Estimate, estimate_prompt};

use crate::context::millis;
use crate::outcome::{Failure, NodeUsage};
use crate::quota::{CallUsage, QuotaReservation};
use crate::steps::kind::Execution;

/// No model writes more tokens per millisecond.
const TOKENS_PER_MS: u64 = 4;

/// A reservation for a call that is about to be made.
pub(crate) struct Reservation {
    /// The most that the call can take; `None` where neither tokens nor costs are limited.
    most: Option<CallUsage>,
    quota: Option<QuotaReservation>,
}

/// A call in flight. If it is dropped, the call counts as aborted and its usage is estimated: the
/// provider may have done the work, and an aborted call must not be free.
pub(crate) struct PaidCall<'a> {
    execution: &'a Execution<'a>,
    model: &'a dyn ChatModel,
    request: &'a ChatRequest,
    began: Duration,
    reservation: Reservation,
    /// Estimate of the answer so far.
    received: Mutex<Estimate>,
    is_settled: bool,
}

impl Reservation {
    /// Reserves one call. Waits as long as other calls in flight decide whether it fits, and fails
    /// if no further call is allowed.
    pub(crate) async fn of(
        execution: &Execution<'_>,
        model: &dyn ChatModel,
        request: &ChatRequest,
    ) -> Result<Self, Failure> {
        let Execution {
            context,
            node,
            node_id,
            ..
        } = *execution;
        let is_limited = context.quota.is_some() || context.ledger.limits_amounts();
        let most = is_limited.then(|| most(model, request));
        let reserved = match (&context.quota, &most) {
            (Some(quota), Some(most)) => {
                Some(QuotaReservation::before(quota, node_id, model.name(), most).await?)
            }
            _ => None,
        };
        let ledger = &context.ledger;
        ledger.reserve(node, node_id, most.as_ref()).await?;
        Ok(Self {
            most,
            quota: reserved,
        })
    }

    /// Starts the clock of the call.
    pub(crate) fn call<'a>(
        self,
        execution: &'a Execution<'a>,
        model: &'a dyn ChatModel,
        request: &'a ChatRequest,
    ) -> PaidCall<'a> {
        PaidCall {
            execution,
            model,
            request,
            began: execution.context.host().elapsed(),
            reservation: self,
            received: Mutex::default(),
            is_settled: false,
        }
    }
}

impl PaidCall<'_> {
    /// Counts a piece of the answer.
    pub(crate) fn received(&self, text: &str) {
        self.estimate_mut(|received| received.add(text));
    }

    /// Settles a call that was answered.
    pub(crate) fn answered(mut self, reply: &ChatReply) -> NodeUsage {
        let taken = NodeUsage::of(reply);
        self.settle(Some(&taken));
        taken
    }

    /// Settles a call that failed.
    pub(crate) fn failed(mut self, error: &llm::Error) -> NodeUsage {
        let received = self.received_tokens();
        let taken = match error.spent {
            Spent::Nothing if received == 0 => None,
            Spent::Nothing | Spent::Unknown => Some(self.aborted()),
            Spent::Tokens(usage) => {
                let output = usage.output_tokens.max(received);
                let cost_usd = self.model.cost_usd(usage.input_tokens, output);
                Some(NodeUsage {
                    input_tokens: usage.input_tokens,
                    cached_tokens: usage.cached_tokens,
                    output_tokens: output,
                    cost_usd,
                    is_estimated: usage.is_estimated || output > usage.output_tokens,
                    ..NodeUsage::default()
                })
            }
        };
        self.settle(taken.as_ref());
        taken.unwrap_or_default()
    }

    /// Estimates an aborted call: the prompt by its text, and the answer by what was received. An
    /// answer that is not streamed counts with as much as may have been written by now.
    fn aborted(&self) -> NodeUsage {
        let output = if self.request.stream {
            self.received_tokens()
        } else {
            let written =
                millis(self.execution.context.since(self.began)).saturating_mul(TOKENS_PER_MS);
            written.min(self.model.usage_ceiling(self.request).output_tokens)
        };
        estimated(self.model, self.request, output)
    }

    fn settle(&mut self, taken: Option<&NodeUsage>) {
        self.is_settled = true;
        let Reservation { most, quota } = &mut self.reservation;
        let Execution { context, node, .. } = *self.execution;
        context.ledger.settle(node, most.as_ref(), taken);
        if let (Some(reserved), Some(taken)) = (quota.take(), taken) {
            reserved.settle(&taken.into());
        }
    }

    fn received_tokens(&self) -> u64 {
        self.estimate_mut(|received| received.tokens())
    }

    /// The estimate is valid even if a thread panicked while holding the lock.
    fn estimate_mut<T>(&self, use_it: impl FnOnce(&mut Estimate) -> T) -> T {
        use_it(&mut self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for PaidCall<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            let taken = self.aborted();
            self.settle(Some(&taken));
        }
    }
}

/// Books a call that was in flight when the process of an earlier attempt died. The answer counts
/// in full, because nobody knows how far it came.
pub(crate) fn book_interrupted(
    execution: &Execution<'_>,
    model: &dyn ChatModel,
    request: &ChatRequest,
) -> NodeUsage {
    let Execution { context, node, .. } = *execution;
    let taken = NodeUsage {
        llm_calls: 1,
        ..estimated(model, request, model.usage_ceiling(request).output_tokens)
    };
    context.ledger.book(node, &taken);
    if let Some(quota) = &context.quota {
        quota.settle(&CallUsage::default(), &(&taken).into());
    }
    taken
}

fn estimated(model: &dyn ChatModel, request: &ChatRequest, output_tokens: u64) -> NodeUsage {
    let input_tokens = estimate_prompt(request);
    NodeUsage {
        input_tokens,
        output_tokens,
        cost_usd: model.cost_usd(input_tokens, output_tokens),
        is_estimated: true,
        ..NodeUsage::default()
    }
}

fn most(model: &dyn ChatModel, request: &ChatRequest) -> CallUsage {
    let most = model.usage_ceiling(request);
    CallUsage {
        input_tokens: most.input_tokens,
        output_tokens: most.output_tokens,
        cost_usd: model.cost_usd(most.input_tokens, most.output_tokens),
    }
}
