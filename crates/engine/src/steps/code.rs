//! A node that runs code. Code is checked but not executed yet: a workflow with such a node is
//! refused as a whole (`Workflow::unsupported`) before this step is reached.

use std::sync::Arc;

use lang::workflow::{CodeNode, NodeId, Workflow};
use llm::model::Models;

use crate::outcome::{Failure, FailureCode, NodeUsage};
use crate::steps::kind::{Execution, Kind};
use crate::steps::outputs::Outputs;

/// Code needs no preparation yet.
#[derive(Debug)]
pub(crate) struct CodePlan;

impl Kind for CodePlan {
    type Node = CodeNode;

    fn plan(_workflow: &Arc<Workflow>, _id: NodeId, _node: &CodeNode) -> Self {
        Self
    }

    fn preflight(&self, node_id: &str, _models: &dyn Models) -> Result<(), Failure> {
        Err(not_supported(node_id))
    }

    async fn execute(
        &self,
        _node: &CodeNode,
        execution: &Execution<'_>,
        _usage: &mut NodeUsage,
    ) -> Result<Outputs, Failure> {
        Err(not_supported(execution.node_id))
    }
}

fn not_supported(node_id: &str) -> Failure {
    let reason = "`code` is not supported yet: use a prompt instead";
    Failure::of_node(FailureCode::NotSupported, node_id, reason)
}
