//! Moves a progress from one version of a workflow to another. Nodes and fields are matched by
//! name.

use lang::workflow::{InitialState, NodeId, Workflow};
use serde_json::Value;

use crate::plan::Plan;
use crate::progress::{FinishedExecution, Progress, ScheduledWork};
use crate::steps::fan_out;

/// Why a run cannot continue in another version of its workflow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The run stopped at a node, or at a fan-out of a node, that the other version does not have.
    #[error("it stopped at node `{0}`, which the workflow no longer has")]
    Node(String),
    /// A value of the state does not fit the type of its field in the other version.
    #[error("its value of field `{0}` no longer fits the workflow")]
    Field(String),
}

impl Progress {
    /// The same position in another version of the workflow, in which the run's inputs make the
    /// given initial state. Fields that no longer exist are left out. Finished executions of the
    /// step in progress that lack an output of their node are repeated.
    pub fn transferred(
        self,
        from: &Plan,
        to: &Plan,
        initial: InitialState,
    ) -> Result<Self, TransferError> {
        let (old, new) = (from.workflow(), to.workflow());
        let mut moved = Self::new(new, initial);
        for (position, field) in old.fields.iter().enumerate() {
            let target = new.fields.iter().position(|other| other.name == field.name);
            if let (true, Some(target)) = (self.written[position], target) {
                let value = new.fields[target].coerce(&self.state[position]);
                moved.state[target] =
                    value.map_err(|_| TransferError::Field(field.name.clone()))?;
                moved.written[target] = true;
            }
        }
        for (position, node) in old.nodes.iter().enumerate() {
            if let Some(NodeId(target)) = new.node(&node.id) {
                moved.counters[target] = self.counters[position];
            }
        }
        let work = |work: &ScheduledWork| {
            let (ScheduledWork::Node(node) | ScheduledWork::FanOut(node)) = *work;
            let id = &old.nodes[node.0].id;
            let missing = || TransferError::Node(id.clone());
            let target = new.node(id).ok_or_else(missing)?;
            match work {
                ScheduledWork::Node(_) => Ok(ScheduledWork::Node(target)),
                ScheduledWork::FanOut(_) if new.nodes[target.0].exits.fan_out.is_some() => {
                    Ok(ScheduledWork::FanOut(target))
                }
                ScheduledWork::FanOut(_) => Err(missing()),
            }
        };
        moved.pending = self.pending.iter().map(work).collect::<Result<_, _>>()?;
        moved.done = self
            .done
            .into_iter()
            .filter_map(|done| {
                let (before, after) = (self.pending[done.work], moved.pending[done.work]);
                let same_items = match (before, after) {
                    (ScheduledWork::FanOut(before), ScheduledWork::FanOut(after)) => {
                        let (before, after) = (from.fan_out(before).items, to.fan_out(after).items);
                        let items = fan_out::items(&moved.state, after);
                        old.fields[before.0].name == new.fields[after.0].name
                            && fan_out::items(&self.state, before) == items
                    }
                    _ => true,
                };
                let node = (from.runs(before), to.runs(after));
                let same_node = old.nodes[node.0.0].id == new.nodes[node.1.0].id;
                let outputs = outputs((old, node.0), (new, node.1), done.outputs?)?;
                (same_items && same_node).then_some(FinishedExecution {
                    outputs: Some(outputs),
                    ..done
                })
            })
            .collect();
        moved.steps = self.steps;
        moved.usage = self.usage;
        moved.last_event = self.last_event;
        moved.elapsed_ms = self.elapsed_ms;
        Ok(moved)
    }

    /// Forgets the position, for a run that will begin at a chosen node.
    pub fn leave_position(&mut self) {
        self.pending.clear();
        self.done.clear();
    }
}

/// The outputs of one node in the order of the other; `None` if one is missing or does not fit.
fn outputs(
    (old, from): (&Workflow, NodeId),
    (new, to): (&Workflow, NodeId),
    values: Vec<Value>,
) -> Option<Vec<Value>> {
    let before = old.nodes[from.0].output.fields.iter();
    let named: Vec<(&str, Value)> = before
        .map(|output| &*old.fields[output.target.0].name)
        .zip(values)
        .collect();
    let wanted = new.nodes[to.0].output.fields.iter().map(|output| {
        let field = &new.fields[output.target.0];
        let (_, value) = named.iter().find(|(name, _)| *name == field.name)?;
        field.coerce(value).ok()
    });
    wanted.collect()
}
