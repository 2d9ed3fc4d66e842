//! Where a run stands, so that it can go on after a crash: state, position, counters, and the finished
//! parts of the step in progress. Serialisable; opaque to everyone but the engine.
//!
//! It is saved as a whole now and then only. The `node_completed` events tell what else is done: a
//! progress and the events after it are as good as a later progress ([`Progress::replay`]), so neither
//! the items of a fan-out nor the state are written again after each execution. What nobody has written
//! is not saved either: it is what the run's inputs make it ([`Progress::without_inputs`]).

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
    /// ScheduledWork whose turn has come or that waits for other branches; no entry twice.
    pub(crate) pending: Vec<ScheduledWork>,
    /// Executions of the step in progress that are done, not yet merged into the state.
    pub(crate) done: Vec<FinishedExecution>,
    /// By node.
    pub(crate) counters: Vec<Counters>,
    /// Finished steps.
    pub(crate) steps: u64,
    /// Spent by the executions that are done.
    pub usage: Usage,
    /// Id of the last event the run had emitted when this was saved. Whoever resumes a run and knows
    /// of later events replays them first, so that nothing is done and no id is used twice.
    pub last_event: u64,
    /// Time spent running until this was saved.
    pub elapsed_ms: u64,
    /// Fields that no node has written are left out: see [`Progress::with_inputs`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inputs_apart: bool,
}

/// [`Progress`] with nothing for the fields that no node has written.
#[derive(Serialize)]
struct WithoutInputs<'a> {
    state: Vec<Option<&'a Value>>,
    written: &'a [bool],
    pending: &'a [ScheduledWork],
    done: &'a [FinishedExecution],
    counters: &'a [Counters],
    steps: u64,
    usage: &'a Usage,
    last_event: u64,
    elapsed_ms: u64,
    inputs_apart: bool,
}

/// One entry of a run's schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScheduledWork {
    /// Run this node once.
    Node(NodeId),
    /// Follow this node's parallel edge: run the edge's target once per item.
    FanOut(NodeId),
}

/// A finished execution of the step in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FinishedExecution {
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

    /// What has to be kept of it where the run's inputs are kept, too.
    pub fn without_inputs(&self) -> impl Serialize {
        let state = self.state.iter().zip(&self.written);
        WithoutInputs {
            state: state
                .map(|(value, written)| written.then_some(value))
                .collect(),
            written: &self.written,
            pending: &self.pending,
            done: &self.done,
            counters: &self.counters,
            steps: self.steps,
            usage: &self.usage,
            last_event: self.last_event,
            elapsed_ms: self.elapsed_ms,
            inputs_apart: true,
        }
    }

    /// Whether fields are missing that [`with_inputs`](Self::with_inputs) brings back.
    pub fn lacks_inputs(&self) -> bool {
        self.inputs_apart
    }

    /// Brings back what [`without_inputs`](Self::without_inputs) left out.
    pub fn with_inputs(&mut self, initial: InitialState) {
        let fields = self.state.iter_mut().zip(&self.written).zip(initial);
        for ((value, written), initial) in fields {
            if !written {
                *value = initial;
            }
        }
        self.inputs_apart = false;
    }

    /// Whether this can be a position in that workflow at all: every index is within bounds.
    pub(crate) fn fits(&self, workflow: &Workflow) -> bool {
        let nodes = workflow.nodes.len();
        self.state.len() == workflow.fields.len()
            && self.written.len() == workflow.fields.len()
            && self.counters.len() == nodes
            && self.pending.iter().all(|work| match *work {
                ScheduledWork::Node(node) => node.0 < nodes,
                ScheduledWork::FanOut(source) => workflow
                    .nodes
                    .get(source.0)
                    .is_some_and(|node| node.exits.fan_out.is_some()),
            })
    }

    /// Adds work unless it is pending already: that is how a join runs once.
    pub(crate) fn schedule(&mut self, work: ScheduledWork) {
        if !self.pending.contains(&work) {
            self.pending.push(work);
        }
    }

    /// Adds a node; END adds nothing.
    pub(crate) fn schedule_target(&mut self, target: Target) {
        if let Target::Node(node) = target {
            self.schedule(ScheduledWork::Node(node));
        }
    }
}

/// Makes progress durable. The engine awaits it after every execution of a node or an item, before it
/// starts another; only the end of a run is left to its owner. An error stops the run without an end
/// (someone else owns it, or the store is gone).
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// Saves the whole progress: an execution failed and thereby ended a loop, of which no event tells.
    async fn save(&self, progress: &Progress) -> Result<(), CheckpointError>;

    /// Saves that more executions are done, or a step. It will do to save the events so far, from
    /// which [`Progress::replay`] makes the same of the progress saved last.
    async fn save_execution(&self, progress: &Progress) -> Result<(), CheckpointError> {
        self.save(progress).await
    }

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
