//! Where a run stands, so that it can be resumed after a crash: state, position, counters, and the
//! finished executions of the step in progress. Serialisable; opaque to everyone but the engine.
//!
//! The whole progress is saved only now and then. A saved progress and the `node_completed` events
//! after it are worth as much as a later progress ([`Progress::replay`]), so neither the items of a
//! fan-out nor the state are written again after each execution. Fields that no node has written
//! are not saved either: the run's inputs determine them ([`Progress::without_inputs`]).

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
    /// Work that can run now or waits for other branches. No entry occurs twice.
    pub(crate) pending: Vec<ScheduledWork>,
    /// Finished executions of the step in progress, not yet merged into the state.
    pub(crate) done: Vec<FinishedExecution>,
    /// By node.
    pub(crate) counters: Vec<Counters>,
    /// Finished steps.
    pub(crate) steps: u64,
    /// Spent by the executions that are done.
    pub usage: Usage,
    /// The id of the last event that the run had emitted when this was saved. To resume a run,
    /// replay the later events first, so that no execution is repeated and no id is used twice.
    pub last_event: u64,
    /// Run time until this was saved.
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
    /// Position in `pending`. Positions do not change during a step.
    pub(crate) work: usize,
    /// Index of the item, in a fan-out.
    pub(crate) item: Option<usize>,
    /// One value per output of the node, in its order; `None` where the execution failed and
    /// thereby ended a loop with `break_on_error`.
    pub(crate) outputs: Option<Vec<Value>>,
}

/// Counters of one node.
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
    /// The progress of a run at START.
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

    /// The part to store where the run's inputs are stored as well.
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

    /// Whether fields are missing that [`with_inputs`](Self::with_inputs) restores.
    pub fn lacks_inputs(&self) -> bool {
        self.inputs_apart
    }

    /// Restores the fields that [`without_inputs`](Self::without_inputs) left out.
    pub fn with_inputs(&mut self, initial: InitialState) {
        let fields = self.state.iter_mut().zip(&self.written).zip(initial);
        for ((value, written), initial) in fields {
            if !written {
                *value = initial;
            }
        }
        self.inputs_apart = false;
    }

    /// Whether this can be a progress of that workflow: every index is within bounds.
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

    /// Adds work unless it is pending already. This is why a join runs only once.
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

/// Makes progress durable. The engine awaits it after every execution of a node or an item, before
/// it starts another. Only the end of a run is left to the run's owner. An error stops the run
/// without an end: another process owns it, or the store is unavailable.
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// Saves the whole progress. Called when a failed execution has ended a loop, which no event
    /// tells.
    async fn save(&self, progress: &Progress) -> Result<(), CheckpointError>;

    /// Saves that executions or a step have ended. It is enough to save the events so far:
    /// [`Progress::replay`] applies them to the progress that was saved last.
    async fn save_execution(&self, progress: &Progress) -> Result<(), CheckpointError> {
        self.save(progress).await
    }

    /// Whether saving does anything. If not, the engine prepares nothing to be saved.
    fn is_durable(&self) -> bool {
        true
    }
}

/// Saving failed: the run must stop and leave its job to its current owner.
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
