//! Brings a saved progress up to date with the events that came after it, and moves a run to
//! another node.

use lang::workflow::NodeId;
use serde_json::Value;

use crate::event::{EventKind, RunEvent};
use crate::plan::Plan;
use crate::progress::{FinishedExecution, Progress, ScheduledWork};
use crate::schedule::{MAX_STEPS, finish, runnable};
use crate::steps::fan_out;

/// The event with this id belongs to another run than the progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event {0} does not belong to the saved progress")]
pub struct ForeignEvent(pub u64);

/// The node is the target of several fan-outs, so it is not clear which items are meant. Holds
/// their sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmbiguousFanOut(pub Vec<NodeId>);

impl Progress {
    /// Applies an event that came after the progress was saved. Call it with all such events in
    /// their order. Finishes the steps that had ended before the event.
    pub fn replay(&mut self, plan: &Plan, event: &RunEvent) -> Result<(), ForeignEvent> {
        if let EventKind::NodeCompleted {
            node,
            item,
            outputs,
            sealed,
            usage,
            elapsed_ms,
            ..
        } = &event.kind
        {
            let foreign = ForeignEvent(event.id);
            if !self.fits(plan.workflow()) {
                return Err(foreign);
            }
            while let Some(step) = self.completed_step(plan) {
                // The run went on after the step, so the step succeeded.
                finish(plan, self, &step).map_err(|_| foreign)?;
            }
            let outputs = sealed.as_ref().unwrap_or(outputs);
            let done = self.done(plan, node, *item, outputs);
            self.done.push(done.ok_or(foreign)?);
            self.usage.add(node, usage);
            self.elapsed_ms = *elapsed_ms;
        }
        self.last_event = event.id;
        Ok(())
    }

    /// Finishes the steps whose executions are all done. A step that cannot be finished stays as it
    /// is: the run failed there, and will fail there again.
    pub fn settle(&mut self, plan: &Plan) {
        if !self.fits(plan.workflow()) {
            return;
        }
        while let Some(step) = self.completed_step(plan) {
            let before = self.clone();
            if finish(plan, self, &step).is_err() {
                *self = before;
                return;
            }
        }
    }

    /// The step in progress, if all of its executions are done.
    fn completed_step(&self, plan: &Plan) -> Option<Vec<usize>> {
        if self.pending.is_empty() || self.steps >= MAX_STEPS {
            return None;
        }
        let step = runnable(plan, &self.pending);
        let executions: usize = step
            .iter()
            .map(|&position| match self.pending[position] {
                ScheduledWork::Node(_) => 1,
                ScheduledWork::FanOut(source) => {
                    fan_out::items(&self.state, plan.fan_out(source).items).len()
                }
            })
            .sum();
        (executions == self.done.len()).then_some(step)
    }

    /// The execution that a `node_completed` event reports. No two pieces of work in one step run
    /// the same node, because both would write its outputs; the exception is a fan-out without
    /// items.
    fn done(
        &self,
        plan: &Plan,
        node: &str,
        item: Option<usize>,
        outputs: &Value,
    ) -> Option<FinishedExecution> {
        let workflow = plan.workflow();
        let node = workflow.node(node)?;
        let runs_it = |work: &ScheduledWork| {
            plan.runs(*work) == node
                && match (*work, item) {
                    (ScheduledWork::Node(_), item) => item.is_none(),
                    (ScheduledWork::FanOut(source), Some(index)) => {
                        index < fan_out::items(&self.state, plan.fan_out(source).items).len()
                    }
                    (ScheduledWork::FanOut(_), None) => false,
                }
        };
        let outputs = plan.node(node).output.fields.iter().map(|output| {
            let name = &workflow.fields[output.target.0].name;
            outputs.get(name).cloned()
        });
        Some(FinishedExecution {
            work: self.pending.iter().position(runs_it)?,
            item,
            outputs: Some(outputs.collect::<Option<_>>()?),
        })
    }

    /// Moves the run to one node, with the state that it has reached. The node's loops start over.
    /// The target of a fan-out runs again for all items.
    pub fn begin_at(&mut self, plan: &Plan, node: NodeId) -> Result<(), AmbiguousFanOut> {
        let nodes = &plan.workflow().nodes;
        let leads_there = |source: &NodeId| {
            let fan_out = nodes[source.0].exits.fan_out.as_ref();
            fan_out.is_some_and(|fan_out| fan_out.target == node)
        };
        let sources: Vec<NodeId> = (0..nodes.len()).map(NodeId).filter(leads_there).collect();
        let work = match *sources {
            [] => ScheduledWork::Node(node),
            [source] => ScheduledWork::FanOut(source),
            _ => return Err(AmbiguousFanOut(sources)),
        };
        self.pending = vec![work];
        self.done.clear();
        if let Some(counters) = self.counters.get_mut(node.0) {
            counters.edge_loop = 0;
            counters.node_loop = 0;
        }
        Ok(())
    }
}
