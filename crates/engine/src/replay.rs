//! Bringing a progress up to date by the events that came after it, and beginning at another node.

use lang::workflow::NodeId;
use serde_json::Value;

use crate::event::{EventKind, RunEvent};
use crate::plan::Plan;
use crate::progress::{FinishedExecution, Progress, ScheduledWork};
use crate::schedule::{MAX_STEPS, finish, runnable};
use crate::steps::fan_out;

/// The event with this id is not of the run whose progress it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event {0} does not belong to the saved progress")]
pub struct ForeignEvent(pub u64);

/// A node runs once per item for several others, so that it is not clear which items are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManyFanOuts(pub Vec<NodeId>);

impl Progress {
    /// Brings a progress up to an event that came after it was saved. To be called with all of them, in
    /// their order. Steps that are over by then are finished.
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
                // The run went on behind it, so it went well.
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

    /// Finishes the steps whose executions are all done. One that cannot be finished stays as it is: there
    /// the run failed, and fails again.
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

    /// An execution of the step in progress that an event tells of. No two pieces of work in one step
    /// run the same node, unless one of them is a fan-out without items: both would write its outputs.
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

    /// Goes on at one node instead of where it stands, on the state reached so far; the node's loops
    /// start over. A node that runs once per item does so again for all of them.
    pub fn begin_at(&mut self, plan: &Plan, node: NodeId) -> Result<(), ManyFanOuts> {
        let nodes = &plan.workflow().nodes;
        let leads_there = |source: &NodeId| {
            let fan_out = nodes[source.0].exits.fan_out.as_ref();
            fan_out.is_some_and(|fan_out| fan_out.target == node)
        };
        let sources: Vec<NodeId> = (0..nodes.len()).map(NodeId).filter(leads_there).collect();
        let work = match *sources {
            [] => ScheduledWork::Node(node),
            [source] => ScheduledWork::FanOut(source),
            _ => return Err(ManyFanOuts(sources)),
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
