//! The workflows this process serves, replaceable while it runs (`--watch`). Old versions stay
//! reachable by definition hash as long as a job needs them.

use std::sync::Arc;

use lang::workflow::Workflow;
use serde_json::Value;

/// A loaded workflow with what is derived from it once.
#[derive(Debug)]
pub struct LoadedWorkflow {
    /// Checked.
    pub workflow: Arc<Workflow>,
    /// JSON Schema of its inputs.
    pub input_schema: Value,
    /// JSON Schema of its outputs.
    pub output_schema: Value,
}
