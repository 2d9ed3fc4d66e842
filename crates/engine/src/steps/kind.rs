//! What a kind of node has to implement. Everything that all kinds share is outside of it: inputs,
//! iterations, fan-out, merging, checks of outputs, and the events that a node starts and ends
//! with.

use std::sync::Arc;

use lang::workflow::{Node, NodeId, Workflow};
use llm::model::Models;

use crate::context::Context;
use crate::outcome::{Failure, NodeUsage};
use crate::scope::Variables;
use crate::steps::outputs::Outputs;

/// A kind of node. A value of this type is one node of that kind, prepared for all runs.
pub(crate) trait Kind: Sized {
    /// The settings of such a node in the checked workflow.
    type Node;

    /// Prepares a node. Called once per workflow.
    fn plan(workflow: &Arc<Workflow>, id: NodeId, node: &Self::Node) -> Self;

    /// Refuses a node that could only fail, as far as that can be known without I/O.
    fn preflight(&self, node_id: &str, models: &dyn Models) -> Result<(), Failure>;

    /// Executes the node once. Adds to `usage` as soon as something is spent, so that it also
    /// counts when the execution fails.
    async fn execute(
        &self,
        node: &Self::Node,
        execution: &Execution<'_>,
        usage: &mut NodeUsage,
    ) -> Result<Outputs, Failure>;
}

/// One execution of a node, perhaps for one item of a fan-out.
#[derive(Clone, Copy)]
pub(crate) struct Execution<'a> {
    /// The run.
    pub(crate) context: &'a Context<'a>,
    /// The node.
    pub(crate) node: NodeId,
    /// The node's id, for requests and events.
    pub(crate) node_id: &'a Arc<str>,
    /// Index of the item, in a fan-out.
    pub(crate) item: Option<usize>,
    /// The state as it was before the step, the item, and the node's inputs.
    pub(crate) variables: Variables<'a>,
    /// An earlier attempt at the run may have begun this execution. How that ended is not known.
    pub(crate) was_in_flight: bool,
}

impl<'a> Execution<'a> {
    /// The node as the workflow has it.
    pub(crate) fn node(&self) -> &'a Node {
        &self.context.workflow.nodes[self.node.0]
    }
}
