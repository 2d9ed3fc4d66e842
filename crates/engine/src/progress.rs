//! Where a run stands, so that it can go on after a crash: state, position, counters, and the finished
//! parts of the step in progress. Serialisable; opaque to everyone but the engine.

use std::collections::BTreeMap;

use async_trait::async_trait;
use lang::workflow::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outcome::Usage;

/// A run's position. Node positions are stable because a job pins its definition by hash.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    /// One value per state field, as of the last finished step.
    pub state: Vec<Value>,
    /// Nodes whose turn has come or that wait for other branches.
    pub pending: Vec<NodeId>,
    /// Finished executions of each node.
    pub iterations: Vec<u64>,
    /// Executions of the loop in progress at each node (edge and node loops).
    pub loops: Vec<u32>,
    /// Nodes of the step in progress that are done: their outputs, not yet merged.
    pub done: BTreeMap<usize, Value>,
    /// Fan-out items of the step in progress that are done: node, then item index, then outputs.
    pub items_done: BTreeMap<usize, BTreeMap<usize, Value>>,
    /// Steps taken.
    pub steps: u64,
    /// Spent so far.
    pub usage: Usage,
    /// Id of the last event.
    pub last_event: u64,
    /// Time spent running before this attempt.
    pub elapsed_ms: u64,
}

/// Makes progress durable. The engine awaits it before it makes a call that would have to be repeated.
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// Saves; an error stops the run without an end (someone else owns it, or the store is gone).
    async fn save(&self, progress: &Progress) -> Result<(), CheckpointError>;
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
}
