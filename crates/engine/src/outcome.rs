//! How a run ended, what it cost, and why it failed.

mod failure;
mod usage;

use std::sync::Arc;

use serde_json::{Map, Value};

pub use failure::{Failure, FailureCode, FailureSource};
pub use usage::{NodeUsage, Usage};

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The whole final state.
    Completed {
        /// Every field by name.
        outputs: Arc<Map<String, Value>>,
    },
    /// It failed; nothing is returned from it.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// What it took, failed runs too.
    pub usage: Arc<Usage>,
    /// Wall time of the run, the time before a resumption included.
    pub execution_time_ms: u64,
    /// Gates that failed with `warn` or `block_deploy`.
    pub gate_warnings: Vec<String>,
    /// The outputs as anybody but the caller may see them; `None` where no field is sensitive.
    pub masked_outputs: Option<Arc<Map<String, Value>>>,
}
