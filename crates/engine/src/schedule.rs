//! From step to step: which pending work can run, what a finished step writes into the state, and
//! what is scheduled after it.

use std::borrow::Cow;

use lang::workflow::{FieldId, NodeId, Target};
use serde_json::Value;

use crate::context::{Context, Stop};
use crate::faults;
use crate::observer::Step;
use crate::outcome::{Failure, FailureCode};
use crate::plan::Plan;
use crate::progress::{Progress, ScheduledWork};
use crate::scope::Variables;
use crate::steps;
use crate::steps::fan_out;

/// Steps a run may take before it is stopped as endless.
pub const MAX_STEPS: u64 = 10_000;

/// Takes steps until no work is pending. Saves progress after each of them.
pub(crate) async fn run(
    context: &Context<'_>,
    plan: &Plan,
    progress: &mut Progress,
) -> Result<(), Stop> {
    while !progress.pending.is_empty() {
        if progress.steps >= MAX_STEPS {
            let message = format!(
                "The run was stopped after {MAX_STEPS} steps: make sure that every cycle of its edges can end"
            );
            return Err(Failure::of_workflow(FailureCode::StepLimit, message).into());
        }
        let step = runnable(plan, &progress.pending);
        refuse_conflict(plan, progress, &step)?;
        refuse_too_many_items(plan, progress, &step)?;
        steps::run(context, plan, progress, &step).await?;
        let observer = context.environment.observer.as_ref();
        let ran: Vec<&str> = if observer.wants_steps() {
            let runs = |&position: &usize| plan.node(plan.runs(progress.pending[position]));
            step.iter().map(|position| &*runs(position).id).collect()
        } else {
            Vec::new()
        };
        finish(plan, progress, &step)?;
        if observer.wants_steps() {
            observer.step_ended(&Step {
                number: progress.steps,
                nodes: &ran,
                state: &progress.state,
            });
        }
        // The last step ends with the run, and the end of the run is saved by its owner.
        let checkpoint = context.environment.checkpoint.as_ref();
        if checkpoint.is_durable() && !progress.pending.is_empty() {
            (progress.last_event, progress.elapsed_ms) = context.reached();
            checkpoint.save_execution(progress).await?;
        }
    }
    Ok(())
}

/// Positions of the pending work that waits for no other pending work, in order.
pub(crate) fn runnable(plan: &Plan, pending: &[ScheduledWork]) -> Vec<usize> {
    let waits = |later: ScheduledWork| {
        let later = plan.runs(later);
        pending
            .iter()
            .any(|earlier| plan.order().waits(later, plan.runs(*earlier)))
    };
    (0..pending.len())
        .filter(|&position| !waits(pending[position]))
        .collect()
}

/// Refuses a fan-out over too many items before any of them is run.
fn refuse_too_many_items(plan: &Plan, progress: &Progress, step: &[usize]) -> Result<(), Failure> {
    for &position in step {
        let ScheduledWork::FanOut(source) = progress.pending[position] else {
            continue;
        };
        let fan_out = plan.fan_out(source);
        let count = fan_out::items(&progress.state, fan_out.items).len();
        let has_begun = progress.done.iter().any(|done| done.work == position);
        if count > fan_out.max_items && !has_begun {
            let name = &plan.workflow().fields[fan_out.items.0].name;
            let reason = format_args!(
                "`{name}` has {count} items, and the node may run for {} at most: shorten the list, or raise \
                 `max_items` on the `parallel` edge",
                fan_out.max_items
            );
            let node = &plan.node(fan_out.target).id;
            return Err(Failure::of_node(FailureCode::TooManyItems, node, reason));
        }
    }
    Ok(())
}

/// Refuses a step in which two nodes write one field. What they write is known in advance, so no
/// model call is paid for a step that cannot be merged.
fn refuse_conflict(plan: &Plan, progress: &Progress, step: &[usize]) -> Result<(), Failure> {
    if step.len() < 2 {
        return Ok(());
    }
    let workflow = plan.workflow();
    let mut writers: Vec<Option<NodeId>> = vec![None; workflow.fields.len()];
    for &position in step {
        let work = progress.pending[position];
        let runs = match work {
            ScheduledWork::Node(_) => true,
            ScheduledWork::FanOut(source) => {
                !fan_out::items(&progress.state, plan.fan_out(source).items).is_empty()
            }
        };
        let node = plan.runs(work);
        let mut fields = written(plan, work, runs);
        fields.sort_unstable();
        fields.dedup();
        for field in fields {
            if let Some(other) = writers[field.0].replace(node) {
                let (other, node) = (&plan.node(other).id, &plan.node(node).id);
                let name = &workflow.fields[field.0].name;
                let message = format!(
                    "Nodes `{other}` and `{node}` both write `{name}` in the same step: let one run after the \
                     other, or give each a field of its own"
                );
                return Err(Failure::of_workflow(FailureCode::WriteConflict, message));
            }
        }
    }
    Ok(())
}

/// The fields that a piece of work writes. A fan-out writes its collect field even when its target
/// does not run (`runs`).
fn written(plan: &Plan, work: ScheduledWork, runs: bool) -> Vec<FieldId> {
    let outputs = plan
        .node(plan.runs(work))
        .output
        .fields
        .iter()
        .map(|output| output.target);
    let mut fields: Vec<FieldId> = outputs.filter(|_| runs).collect();
    if let ScheduledWork::FanOut(source) = work {
        fields.push(plan.fan_out(source).collect);
    }
    fields
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum WorkResult {
    /// Its outputs are in the state.
    Succeeded,
    /// It failed, which only ended its loop.
    LoopEnded,
    /// A fan-out had no items.
    NothingRan,
}

/// Merges a finished step into the state, checks the rules, and schedules what comes next. The
/// result depends on the progress alone, so that a replay of events finishes each step in the same
/// way.
pub(crate) fn finish(plan: &Plan, progress: &mut Progress, step: &[usize]) -> Result<(), Failure> {
    let mut done = std::mem::take(&mut progress.done);
    done.sort_by_key(|done| (done.work, done.item));
    let mut done = done.into_iter().peekable();
    let mut finished = Vec::with_capacity(step.len());
    for &position in step {
        let work = progress.pending[position];
        let of_work = std::iter::from_fn(|| done.next_if(|done| done.work == position));
        // An execution without outputs has ended its loop. It is always the only one of its work.
        let outputs: Vec<Vec<Value>> = of_work.filter_map(|done| done.outputs).collect();
        finished.push((work, merge(plan, progress, work, outputs)?));
    }
    check_rules(plan, progress, &finished)?;
    let mut position = 0;
    progress.pending.retain(|_| {
        position += 1;
        !step.contains(&(position - 1))
    });
    for (work, result) in finished {
        leave(plan, progress, work, result)?;
    }
    progress.steps += 1;
    Ok(())
}

/// Writes the outputs of one piece of work into the state, given per execution in order.
fn merge(
    plan: &Plan,
    progress: &mut Progress,
    work: ScheduledWork,
    mut outputs: Vec<Vec<Value>>,
) -> Result<WorkResult, Failure> {
    let workflow = plan.workflow();
    let node = plan.runs(work);
    let collected = match work {
        ScheduledWork::Node(_) => None,
        ScheduledWork::FanOut(source) => {
            let fan_out = plan.fan_out(source);
            Some((
                fan_out.collect,
                fan_out::collect(workflow, fan_out, &outputs)?,
            ))
        }
    };
    progress.counters[node.0].finished += outputs.len() as u64;
    let result = match (outputs.is_empty(), work) {
        (false, _) => WorkResult::Succeeded,
        (true, ScheduledWork::Node(_)) => WorkResult::LoopEnded,
        (true, ScheduledWork::FanOut(_)) => WorkResult::NothingRan,
    };
    let last = outputs.pop().into_iter().flatten();
    let written = plan
        .node(node)
        .output
        .fields
        .iter()
        .map(|output| output.target)
        .zip(last);
    for (field, value) in written.chain(collected) {
        progress.state[field.0] = value;
        progress.written[field.0] = true;
    }
    Ok(result)
}

/// Checks the rules over fields that the step has written. Rules over inputs alone were checked
/// with them.
fn check_rules(
    plan: &Plan,
    progress: &Progress,
    finished: &[(ScheduledWork, WorkResult)],
) -> Result<(), Failure> {
    let workflow = plan.workflow();
    if workflow.rules.is_empty() {
        return Ok(());
    }
    let has_been_written = |field: FieldId| progress.written[field.0];
    for &(work, result) in finished {
        let just_written = written(plan, work, result == WorkResult::Succeeded);
        let broken = workflow.rules_broken_after(&just_written, &has_been_written, &progress.state);
        if !broken.is_empty() {
            let reason = format_args!(
                "its output breaks a rule of the state: {}",
                faults::phrase(&broken)
            );
            return Err(Failure::of_node(
                FailureCode::RuleFailed,
                &plan.node(plan.runs(work)).id,
                reason,
            ));
        }
    }
    Ok(())
}

/// Schedules what comes after a piece of work.
fn leave(
    plan: &Plan,
    progress: &mut Progress,
    work: ScheduledWork,
    result: WorkResult,
) -> Result<(), Failure> {
    let id = plan.runs(work);
    let node = plan.node(id);
    // If nothing ran, a further round would not change anything.
    let may_repeat = result == WorkResult::Succeeded;
    if let Some(repeat) = &node.repeat {
        let rounds = progress.counters[id.0].node_loop + 1;
        let until = || {
            repeat
                .until
                .as_ref()
                .is_some_and(|until| until.holds(&Variables::of(progress)))
        };
        if may_repeat && rounds < repeat.max_iterations && !until() {
            progress.counters[id.0].node_loop = rounds;
            progress.schedule(work);
            return Ok(());
        }
        progress.counters[id.0].node_loop = 0;
    }

    let exits = &node.exits;
    for target in chosen(plan, progress, id)?.iter() {
        progress.schedule_target(*target);
    }
    if let Some(edge_loop) = &exits.repeat {
        let rounds = progress.counters[id.0].edge_loop + 1;
        let until = progress.state[edge_loop.until.0] == Value::Bool(true);
        if may_repeat && rounds < edge_loop.max_iterations && !until {
            progress.counters[id.0].edge_loop = rounds;
            progress.schedule(work);
        } else {
            progress.counters[id.0].edge_loop = 0;
            progress.schedule_target(edge_loop.exit_to);
        }
    }
    if exits.fan_out.is_some() {
        progress.schedule(ScheduledWork::FanOut(id));
    }
    Ok(())
}

/// The targets of a node's plain, conditional and routes edges in the current state.
fn chosen<'p>(
    plan: &'p Plan,
    progress: &Progress,
    id: NodeId,
) -> Result<Cow<'p, [Target]>, Failure> {
    let node = plan.node(id);
    let exits = &node.exits;
    let variables = Variables::of(progress);
    let held = exits
        .conditional
        .iter()
        .find(|(condition, _)| condition.holds(&variables));
    let targets = match held {
        Some((_, targets)) => targets,
        None if exits.conditional.is_empty() || !exits.always.is_empty() => &exits.always,
        None => {
            let reason = "no condition of its edges holds: add an edge without a condition";
            return Err(Failure::of_node(FailureCode::NoRoute, &node.id, reason));
        }
    };
    let Some(routes) = &exits.routes else {
        return Ok(Cow::Borrowed(targets));
    };
    let case = routes
        .cases
        .iter()
        .find(|(condition, _)| condition.holds(&variables));
    let route = case.map_or(routes.default, |(_, target)| *target);
    Ok(targets
        .iter()
        .copied()
        .chain(std::iter::once(route))
        .collect::<Vec<_>>()
        .into())
}
