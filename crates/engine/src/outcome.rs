//! How a run ended, what it cost, and why it failed.

mod failure;
mod usage;

use std::sync::Arc;

use serde_json::{Map, Value};

pub use failure::{CutOff, Failure, FailureCode, FailureSource};
pub use usage::{NodeUsage, Usage};

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It completed, with the whole final state.
    Completed {
        /// Every field by name.
        outputs: Arc<Map<String, Value>>,
    },
    /// It failed, and has no outputs.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// What it took. Failed runs have it, too.
    pub usage: Arc<Usage>,
    /// Wall time of the run, including earlier attempts.
    pub execution_time_ms: u64,
    /// Gates that failed with `warn` or `block_deploy`.
    pub gate_warnings: Vec<String>,
    /// The outputs as everybody but the caller may see them; `None` where no field is sensitive.
    pub masked_outputs: Option<Arc<Map<String, Value>>>,
}
