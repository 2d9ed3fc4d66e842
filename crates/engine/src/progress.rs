//! Where a run stands, so that it can go on after a crash: state, position, counters, and the finished
//! parts of the step in progress. Serialisable; opaque to everyone but the engine.

use async_trait::async_trait;
use lang::workflow::{InitialState, NodeId, Target, Workflow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outcome::Usage;

/// A run's position. Node positions are stable because a job pins its definition by hash.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// One value per state field, as of the last finished step.
    pub(crate) state: Vec<Value>,
    /// Fields that a node has written.
    pub(crate) written: Vec<bool>,
    /// Work whose turn has come or that waits for other branches; no entry twice.
    pub(crate) pending: Vec<Work>,
    /// Executions of the step in progress that are done, not yet merged into the state.
    pub(crate) done: Vec<Done>,
    /// By node.
    pub(crate) counters: Vec<Counters>,
    /// Finished steps.
    pub(crate) steps: u64,
    /// Spent so far.
    pub usage: Usage,
    /// Id of the last event the run had emitted when this was saved. Whoever resumes a run and knows
    /// of later events raises it first, so that no id is used twice.
    pub last_event: u64,
    /// Time spent running until this was saved.
    pub elapsed_ms: u64,
}

/// One entry of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    /// Run this node once.
    Node(NodeId),
    /// Follow this node's parallel edge: run the edge's target once per item.
    FanOut(NodeId),
}

/// A finished execution of the step in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Position in `pending`, which does not change during a step.
    pub(crate) work: usize,
    /// Which item of a fan-out.
    pub(crate) item: Option<usize>,
    /// One value per output of the node, in its order; `None` where the execution failed and thereby
    /// ended a loop with `break_on_error`.
    pub(crate) outputs: Option<Vec<Value>>,
}

/// What is counted of one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Finished executions in this run: `_loop_iteration_<node>`.
    pub(crate) finished: u64,
    /// Rounds of the loop edge in progress; 0 outside of it.
    pub(crate) edge_loop: u32,
    /// Rounds of the node's own `loop` in progress; 0 outside of it.
    pub(crate) node_loop: u32,
}

impl Progress {
    /// At START.
    pub fn new(workflow: &Workflow, state: InitialState) -> Self {
        let mut progress = Self {
            state,
            written: vec![false; workflow.fields.len()],
            counters: vec![Counters::default(); workflow.nodes.len()],
            ..Self::default()
        };
        for target in &workflow.start {
            progress.schedule_target(*target);
        }
        progress
    }

    /// Goes on at one node instead of where it stands, on the state reached so far; the node's loops
    /// start over.
    pub fn begin_at(&mut self, node: NodeId) {
        self.pending = vec![Work::Node(node)];
        self.done.clear();
        if let Some(counters) = self.counters.get_mut(node.0) {
            counters.edge_loop = 0;
            counters.node_loop = 0;
        }
    }

    /// Whether this can be a position in that workflow at all: every index is within bounds.
    pub(crate) fn fits(&self, workflow: &Workflow) -> bool {
        let nodes = workflow.nodes.len();
        self.state.len() == workflow.fields.len()
            && self.written.len() == workflow.fields.len()
            && self.counters.len() == nodes
            && self.pending.iter().all(|work| match *work {
                Work::Node(node) => node.0 < nodes,
                Work::FanOut(source) => workflow
                    .nodes
                    .get(source.0)
                    .is_some_and(|node| node.exits.fan_out.is_some()),
            })
    }

    /// Adds work unless it is pending already: that is how a join runs once.
    pub(crate) fn schedule(&mut self, work: Work) {
        if !self.pending.contains(&work) {
            self.pending.push(work);
        }
    }

    /// Adds a node; END adds nothing.
    pub(crate) fn schedule_target(&mut self, target: Target) {
        if let Target::Node(node) = target {
            self.schedule(Work::Node(node));
        }
    }
}

/// Makes progress durable. The engine awaits it after every execution of a node or an item, before it
/// starts another.
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// Saves; an error stops the run without an end (someone else owns it, or the store is gone).
    async fn save(&self, progress: &Progress) -> Result<(), CheckpointError>;

    /// Whether saving does anything; if not, the engine does not even prepare what would be saved.
    fn is_durable(&self) -> bool {
        true
    }
}

/// Saving failed: the run must stop and leave its job to whoever owns it now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("progress could not be saved: {0}")]
pub struct CheckpointError(pub String);

/// Saves nothing: for runs that are not jobs.
#[derive(Debug, Clone, Copy)]
pub struct NoCheckpoint;

#[async_trait]
impl Checkpoint for NoCheckpoint {
    async fn save(&self, _progress: &Progress) -> Result<(), CheckpointError> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}
