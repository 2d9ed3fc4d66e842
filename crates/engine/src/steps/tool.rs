//! A node that calls a tool without a model. Such nodes are checked but not executed yet: a
//! workflow with one is refused as a whole (`Workflow::unsupported`) before this step is reached.

use std::sync::Arc;

use lang::workflow::{NodeId, ToolNode, Workflow};
use llm::model::Models;

use crate::outcome::{Failure, FailureCode, NodeUsage};
use crate::steps::kind::{Execution, Kind};
use crate::steps::outputs::Outputs;

/// A call needs no preparation yet.
#[derive(Debug)]
pub(crate) struct ToolPlan;

impl Kind for ToolPlan {
    type Node = ToolNode;

    fn plan(_workflow: &Arc<Workflow>, _id: NodeId, _node: &ToolNode) -> Self {
        Self
    }

    fn preflight(&self, node_id: &str, _models: &dyn Models) -> Result<(), Failure> {
        Err(not_supported(node_id))
    }

    async fn execute(
        &self,
        _node: &ToolNode,
        execution: &Execution<'_>,
        _usage: &mut NodeUsage,
    ) -> Result<Outputs, Failure> {
        Err(not_supported(execution.node_id))
    }
}

fn not_supported(node_id: &str) -> Failure {
    let reason = "`tool` is not supported yet: call the tool before or after the run";
    Failure::of_node(FailureCode::NotSupported, node_id, reason)
}
