//! What a run has spent, and whether it may spend more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lang::workflow::{Budget, NodeId, Workflow};
use tokio::sync::Notify;

use crate::outcome::{Failure, FailureCode, NodeUsage, Usage};
use crate::quota::CallUsage;

/// The account of one run, shared by all of its branches, loops and items.
///
/// `max_llm_calls` counts a call before it starts, so that branches that run at the same time
/// cannot share the last one. Tokens and dollars are only known after the call, so those limits
/// stop the first call that would start with the budget used up. A call in flight counts with the
/// most that it can take: a call that fits only if the others take less waits for them. So a budget
/// is exceeded by no more than one call takes.
#[derive(Debug)]
pub(crate) struct Ledger {
    budget: Budget,
    price_table: Option<Arc<str>>,
    spent: Mutex<Spent>,
    /// Wakes waiting calls when another call has settled.
    settled: Notify,
}

#[derive(Debug)]
struct Spent {
    total: NodeUsage,
    /// By node.
    nodes: Vec<NodeUsage>,
    in_flight: CallsInFlight,
}

/// The most that the calls in flight can take together.
#[derive(Debug, Default)]
struct CallsInFlight {
    calls: u64,
    tokens: u64,
    cost_usd: f64,
    /// Calls without a known price.
    unpriced: u64,
}

impl CallsInFlight {
    fn add(&mut self, most: &CallUsage) {
        self.calls += 1;
        self.tokens = self.tokens.saturating_add(most.tokens());
        self.cost_usd += most.cost_usd.unwrap_or_default();
        self.unpriced += u64::from(most.cost_usd.is_none());
    }

    fn remove(&mut self, most: &CallUsage) {
        self.calls = self.calls.saturating_sub(1);
        if self.calls == 0 {
            // Also clears what rounding has left of the dollars.
            *self = Self::default();
            return;
        }
        self.tokens = self.tokens.saturating_sub(most.tokens());
        self.cost_usd -= most.cost_usd.unwrap_or_default();
        self.unpriced -= u64::from(most.cost_usd.is_none());
    }
}

impl Ledger {
    /// `spent` is what an earlier attempt at the same run had spent.
    pub(crate) fn new(
        workflow: &Workflow,
        limit: &Budget,
        price_table: Option<Arc<str>>,
        spent: &Usage,
    ) -> Self {
        let nodes = workflow
            .nodes
            .iter()
            .map(|node| spent.nodes.get(&node.id).cloned().unwrap_or_default());
        let total = NodeUsage {
            model: None,
            input_tokens: spent.input_tokens,
            cached_tokens: spent.cached_tokens,
            output_tokens: spent.output_tokens,
            llm_calls: spent.llm_calls,
            cost_usd: spent.cost_usd,
            is_estimated: spent.is_estimated,
        };
        let spent = Mutex::new(Spent {
            total,
            nodes: nodes.collect(),
            in_flight: CallsInFlight::default(),
        });
        Self {
            budget: tighter(&workflow.budget, limit),
            price_table,
            spent,
            settled: Notify::new(),
        }
    }

    /// Whether the budget limits tokens or costs, which are only known after a call.
    pub(crate) fn limits_amounts(&self) -> bool {
        self.budget.max_tokens.is_some() || self.budget.max_cost_usd.is_some()
    }

    /// Reserves one call of the node that takes at most `most`, or says which limit is used up.
    /// Waits as long as calls in flight decide whether it fits.
    pub(crate) async fn reserve(
        &self,
        node: NodeId,
        node_id: &str,
        most: Option<&CallUsage>,
    ) -> Result<(), Failure> {
        if self.try_reserve(node, node_id, most)? {
            return Ok(());
        }
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            // From here on no settled call is missed.
            settled.as_mut().enable();
            if self.try_reserve(node, node_id, most)? {
                return Ok(());
            }
            settled.await;
        }
    }

    /// `false` means not yet.
    fn try_reserve(
        &self,
        node: NodeId,
        node_id: &str,
        most: Option<&CallUsage>,
    ) -> Result<bool, Failure> {
        let mut spent = self.lock();
        if let Some(reason) = used_up(&self.budget, &spent.total) {
            let message =
                format!("The budget is used up before a model call of node `{node_id}`: {reason}");
            let failure = Failure::of_workflow(FailureCode::BudgetExceeded, message);
            return Err(Failure {
                node: Some(node_id.to_owned()),
                ..failure
            });
        }
        if let Some(most) = most {
            if !fits(&self.budget, &spent) {
                return Ok(false);
            }
            spent.in_flight.add(most);
        }
        spent.total.llm_calls += 1;
        spent.nodes[node.0].llm_calls += 1;
        Ok(true)
    }

    /// Replaces a reservation with what the call took, if anything.
    pub(crate) fn settle(&self, node: NodeId, most: Option<&CallUsage>, taken: Option<&NodeUsage>) {
        let mut spent = self.lock();
        if let Some(taken) = taken {
            spent.total.add(taken);
            spent.nodes[node.0].add(taken);
        }
        if let Some(most) = most {
            spent.in_flight.remove(most);
            drop(spent);
            self.settled.notify_waiters();
        }
    }

    /// Books a call that was not reserved here.
    pub(crate) fn book(&self, node: NodeId, taken: &NodeUsage) {
        let mut spent = self.lock();
        spent.total.add(taken);
        spent.nodes[node.0].add(taken);
    }

    /// What the run has spent so far.
    pub(crate) fn usage(&self, workflow: &Workflow) -> Usage {
        let spent = self.lock();
        let nodes = workflow.nodes.iter().zip(&spent.nodes);
        Usage {
            input_tokens: spent.total.input_tokens,
            cached_tokens: spent.total.cached_tokens,
            output_tokens: spent.total.output_tokens,
            llm_calls: spent.total.llm_calls,
            cost_usd: spent.total.cost_usd,
            is_estimated: spent.total.is_estimated,
            price_table: self.price_table.clone(),
            nodes: nodes
                .filter(|(_, usage)| usage.llm_calls > 0)
                .map(|(node, usage)| (node.id.clone(), usage.clone()))
                .collect(),
        }
    }

    /// The sums are valid even if a thread panicked while holding the lock: every change is one
    /// addition.
    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tighter(workflow: &Budget, limit: &Budget) -> Budget {
    fn least<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b < a { b } else { a }),
            (a, b) => a.or(b),
        }
    }
    Budget {
        max_cost_usd: least(workflow.max_cost_usd, limit.max_cost_usd),
        max_tokens: least(workflow.max_tokens, limit.max_tokens),
        max_llm_calls: least(workflow.max_llm_calls, limit.max_llm_calls),
        max_tool_calls: least(workflow.max_tool_calls, limit.max_tool_calls),
    }
}

/// Whether one more call may start beside those in flight.
fn fits(budget: &Budget, spent: &Spent) -> bool {
    let Spent {
        total, in_flight, ..
    } = spent;
    if in_flight.calls == 0 {
        return true;
    }
    let tokens = (total.input_tokens + total.output_tokens).saturating_add(in_flight.tokens);
    let cost = total.cost_usd.filter(|_| in_flight.unpriced == 0);
    budget.max_tokens.is_none_or(|max| tokens < max)
        && budget
            .max_cost_usd
            .is_none_or(|max| cost.is_some_and(|cost| cost + in_flight.cost_usd < max))
}

/// Why no further call may start.
fn used_up(budget: &Budget, spent: &NodeUsage) -> Option<String> {
    if let Some(max) = budget.max_llm_calls
        && spent.llm_calls >= max
    {
        return Some(format!(
            "{} of {max} model calls made (`max_llm_calls`)",
            spent.llm_calls
        ));
    }
    let tokens = spent.input_tokens + spent.output_tokens;
    if let Some(max) = budget.max_tokens
        && tokens >= max
    {
        return Some(format!("{tokens} of {max} tokens used (`max_tokens`)"));
    }
    let max = budget.max_cost_usd?;
    match spent.cost_usd {
        Some(cost) if cost >= max => {
            Some(format!("{cost} of {max} US dollars spent (`max_cost_usd`)"))
        }
        Some(_) => None,
        // An unknown amount never passes for a small one: the author has promised a limit.
        None => Some(format!(
            "`max_cost_usd` is {max}, but a model without a known price has answered, so the cost so far is \
             unknown: add its price to the price file, or limit `max_tokens` instead"
        )),
    }
}
