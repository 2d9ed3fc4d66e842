//! One call of a model on the books of those who pay for it: the run's budget and, where there is one, the
//! quota of whoever asked for the run. Both set aside what the call takes at most before it is made, and are
//! told afterwards what it took. A call that nobody told of, since it was broken off, is estimated.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use llm::chat::{ChatReply, ChatRequest};
use llm::error::Spent;
use llm::model::ChatModel;
use llm::tokens::{Estimate, estimate_prompt};

use crate::context::millis;
use crate::outcome::{Failure, NodeUsage};
use crate::quota::{QuotaReservation, Taken};
use crate::steps::kind::Execution;

/// No model writes faster than so many tokens in a millisecond.
const TOKENS_PER_MS: u64 = 4;

/// What is set aside for a call that is about to be made.
pub(crate) struct Reservation {
    /// `None` where nobody limits tokens or costs.
    most: Option<Taken>,
    reserved: Option<QuotaReservation>,
}

/// A call under way. Dropped, it counts as broken off: nobody knows what the provider did, and to break
/// calls off must not make them free.
pub(crate) struct PaidCall<'a> {
    execution: &'a Execution<'a>,
    model: &'a dyn ChatModel,
    request: &'a ChatRequest,
    began: Duration,
    reservation: Reservation,
    /// Of the answer, as it arrives.
    received: Mutex<Estimate>,
    is_settled: bool,
}

impl Reservation {
    /// For one call of that node. Waits while that depends on what other calls will have taken, and fails
    /// where no further call may be made.
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
        Ok(Self { most, reserved })
    }

    /// The call begins now.
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
    /// A piece of the answer has come.
    pub(crate) fn received(&self, text: &str) {
        self.estimate_mut(|received| received.add(text));
    }

    /// The model answered.
    pub(crate) fn answered(mut self, reply: &ChatReply) -> NodeUsage {
        let taken = NodeUsage::of(reply);
        self.settle(Some(&taken));
        taken
    }

    /// It did not.
    pub(crate) fn failed(mut self, error: &llm::Error) -> NodeUsage {
        let received = self.received_tokens();
        let taken = match error.spent {
            Spent::Nothing if received == 0 => None,
            Spent::Nothing | Spent::Unknown => Some(self.broken_off()),
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

    /// The prompt by its text. Of the answer what was read; where none of it can be read before its end,
    /// as much as may have been written by now.
    fn broken_off(&self) -> NodeUsage {
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
        let Reservation { most, reserved } = &mut self.reservation;
        let Execution { context, node, .. } = *self.execution;
        context.ledger.settle(node, most.as_ref(), taken);
        if let (Some(reserved), Some(taken)) = (reserved.take(), taken) {
            reserved.settle(&taken.into());
        }
    }

    fn received_tokens(&self) -> u64 {
        self.estimate_mut(|received| received.tokens())
    }

    /// A sum that somebody's panic left is still a sum.
    fn estimate_mut<T>(&self, use_it: impl FnOnce(&mut Estimate) -> T) -> T {
        use_it(&mut self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for PaidCall<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            let taken = self.broken_off();
            self.settle(Some(&taken));
        }
    }
}

/// Books a call that an earlier attempt at the run had under way when it stopped: all that was set aside for
/// its answer, since nobody knows how far it came.
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
        quota.settle(&Taken::default(), &(&taken).into());
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

fn most(model: &dyn ChatModel, request: &ChatRequest) -> Taken {
    let most = model.usage_ceiling(request);
    Taken {
        input_tokens: most.input_tokens,
        output_tokens: most.output_tokens,
        cost_usd: model.cost_usd(most.input_tokens, most.output_tokens),
    }
}
