//! One step of a run: its executions run at the same time, and each is saved as it ends.

mod code;
mod execute;
pub(crate) mod fan_out;
mod kind;
pub(crate) mod kinds;
mod model;
mod outputs;
mod tool;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lang::workflow::{FieldId, NodeId};

use crate::context::{Context, Stop};
use crate::outcome::{Failure, FailureCode, Usage};
use crate::plan::Plan;
use crate::progress::{FinishedExecution, Progress, ScheduledWork};
use crate::scope::Variables;
use crate::steps::execute::{Executed, execute};
use crate::steps::kind::Execution;

/// An execution that a step still has to do.
#[derive(Debug, Clone, Copy)]
struct PendingExecution {
    /// Position in `pending`.
    work: usize,
    node: NodeId,
    /// The item's list and index, in a fan-out.
    item: Option<(FieldId, usize)>,
}

/// Executes the work at the given positions of `pending` and records its outputs in
/// `progress.done`. Executions that an earlier attempt at the run has recorded there are not
/// repeated.
///
/// This future polls all executions and spawns nothing, so dropping it aborts them all.
pub(crate) async fn run(
    context: &Context<'_>,
    plan: &Plan,
    progress: &mut Progress,
    step: &[usize],
) -> Result<(), Stop> {
    let (nodes, items): (Vec<_>, Vec<_>) = pending_executions(plan, progress, step)
        .into_iter()
        .partition(|execution| execution.item.is_none());
    let mut items = items.into_iter();
    // All executions see the state as it was before the step. Only `done` changes meanwhile.
    let state = progress.state.as_slice();
    let before = Variables::new(state, &progress.counters);
    let is_interrupted = context.interrupted_step == Some(progress.steps);
    let mut interrupted_items = if is_interrupted { context.fan_out } else { 0 };
    let start = |pending: PendingExecution, was_in_flight: bool| async move {
        let item = pending
            .item
            .map(|(list, index)| (index, &fan_out::items(state, list)[index]));
        let node_plan = plan.node_plan(pending.node);
        let execution = Execution {
            context,
            node: pending.node,
            node_id: &node_plan.id,
            item: item.map(|(index, _)| index),
            variables: before.with_item(item),
            was_in_flight,
        };
        (pending, execute(&node_plan.kind, &execution).await)
    };
    if let ([only], 0) = (nodes.as_slice(), items.len()) {
        // As most steps are. Boxed, so that a run's future is no larger for it; the set below would
        // add its queue, and a waker of its own for each poll.
        let (pending, executed) = Box::pin(start(*only, is_interrupted)).await;
        progress.done.push(finished(
            plan,
            &mut progress.usage,
            pending,
            executed,
            before,
        )?);
        return Ok(());
    }
    let nodes = nodes.into_iter();
    let mut in_flight: FuturesUnordered<_> =
        nodes.map(|node| start(node, is_interrupted)).collect();
    let mut items_in_flight = 0;
    // Executions that ended while another was being saved.
    let mut ended = Vec::new();
    loop {
        while items_in_flight < context.fan_out
            && let Some(pending) = items.next()
        {
            in_flight.push(start(pending, interrupted_items > 0));
            interrupted_items = interrupted_items.saturating_sub(1);
            items_in_flight += 1;
        }
        if ended.is_empty() {
            match in_flight.next().await {
                Some(execution) => ended.push(execution),
                None => return Ok(()),
            }
        }
        let mut events_suffice = true;
        for (pending, executed) in ended.drain(..) {
            items_in_flight -= usize::from(pending.item.is_some());
            let finished = finished(plan, &mut progress.usage, pending, executed, before)?;
            events_suffice &= finished.outputs.is_some();
            progress.done.push(finished);
        }
        // The last execution is saved with the end of the step.
        let is_last = in_flight.is_empty() && items.len() == 0;
        let checkpoint = context.environment.checkpoint.as_ref();
        if checkpoint.is_durable() && !is_last {
            (progress.last_event, progress.elapsed_ms) = context.reached();
            let mut saving = if events_suffice {
                checkpoint.save_execution(progress)
            } else {
                checkpoint.save(progress)
            };
            // The other executions go on meanwhile.
            loop {
                tokio::select! {
                    biased;
                    saved = &mut saving => break saved?,
                    Some(execution) = in_flight.next(), if !in_flight.is_empty() => ended.push(execution),
                }
            }
        }
    }
}

/// Books what an execution took, and gives what is recorded of its end; its failure, where that ends
/// the run.
fn finished(
    plan: &Plan,
    usage: &mut Usage,
    pending: PendingExecution,
    executed: Executed,
    before: Variables<'_>,
) -> Result<FinishedExecution, Failure> {
    let outputs = match executed.result {
        Ok(outputs) => Some(outputs),
        Err(failure) if ends_loop(plan, pending, &failure, before) => None,
        Err(failure) => return Err(failure),
    };
    usage.add(&plan.node(pending.node).id, &executed.usage);
    Ok(FinishedExecution {
        work: pending.work,
        item: pending.item.map(|(_, index)| index),
        outputs,
    })
}

/// The executions of a step that are not done yet.
fn pending_executions(plan: &Plan, progress: &Progress, step: &[usize]) -> Vec<PendingExecution> {
    let mut executions = Vec::with_capacity(step.len());
    for &work in step {
        match progress.pending[work] {
            ScheduledWork::Node(node) => executions.push(PendingExecution {
                work,
                node,
                item: None,
            }),
            ScheduledWork::FanOut(source) => {
                let fan_out = plan.fan_out(source);
                let indices = 0..fan_out::items(&progress.state, fan_out.items).len();
                let item = |index| PendingExecution {
                    work,
                    node: fan_out.target,
                    item: Some((fan_out.items, index)),
                };
                executions.extend(indices.map(item));
            }
        }
    }
    if !progress.done.is_empty() {
        let key = |done: &FinishedExecution| (done.work, done.item);
        let done: std::collections::HashSet<_> = progress.done.iter().map(key).collect();
        executions.retain(|execution| {
            !done.contains(&(execution.work, execution.item.map(|(_, index)| index)))
        });
    }
    executions
}

/// Whether a failed execution only ends its node's loop, which keeps its last good result
/// (`break_on_error`). Not in the first round, which has no result yet; not for items of a fan-out,
/// which are not rounds; not when the budget of the run is used up.
fn ends_loop(
    plan: &Plan,
    execution: PendingExecution,
    failure: &Failure,
    before: Variables<'_>,
) -> bool {
    let breaks = plan
        .node(execution.node)
        .repeat
        .as_ref()
        .is_some_and(|repeat| repeat.break_on_error);
    breaks
        && execution.item.is_none()
        && before.counters(execution.node).node_loop > 0
        && failure.code != FailureCode::BudgetExceeded
}
