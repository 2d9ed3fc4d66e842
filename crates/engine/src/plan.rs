//! What is prepared once per workflow and shared by all its runs: what the kind of each node needs,
//! and which node waits for which.

use std::sync::Arc;

use lang::workflow::{FanOut, Node, NodeId, Workflow};

use crate::order::Order;
use crate::progress::ScheduledWork;
use crate::steps::kinds::KindPlan;

/// A checked workflow, ready to run. Build it once per workflow and share it between runs.
#[derive(Debug)]
pub struct Plan {
    workflow: Arc<Workflow>,
    /// The workflow's name, for events.
    name: Arc<str>,
    nodes: Vec<NodePlan>,
    order: Order,
}

/// One node, prepared.
#[derive(Debug)]
pub(crate) struct NodePlan {
    /// The node's id, for requests and events.
    pub(crate) id: Arc<str>,
    /// What the node's kind has prepared.
    pub(crate) kind: KindPlan,
}

impl Plan {
    /// Prepares all nodes.
    pub fn new(workflow: Arc<Workflow>) -> Self {
        let ids = (0..workflow.nodes.len()).map(NodeId);
        let nodes = ids.map(|id| NodePlan {
            id: Arc::from(workflow.nodes[id.0].id.as_str()),
            kind: KindPlan::new(&workflow, id),
        });
        let nodes = nodes.collect();
        let order = Order::new(&workflow);
        Self {
            name: Arc::from(workflow.name.as_str()),
            workflow,
            nodes,
            order,
        }
    }

    /// The workflow that this plan was made from.
    pub fn workflow(&self) -> &Arc<Workflow> {
        &self.workflow
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.workflow.nodes[id.0]
    }

    pub(crate) fn node_plan(&self, id: NodeId) -> &NodePlan {
        &self.nodes[id.0]
    }

    pub(crate) fn node_plans(&self) -> &[NodePlan] {
        &self.nodes
    }

    /// The parallel edge of a node.
    pub(crate) fn fan_out(&self, source: NodeId) -> &FanOut {
        let fan_out = self.node(source).exits.fan_out.as_ref();
        fan_out.expect("only nodes with a parallel edge are scheduled as fan-outs")
    }

    /// The node that a piece of work runs.
    pub(crate) fn runs(&self, work: ScheduledWork) -> NodeId {
        match work {
            ScheduledWork::Node(node) => node,
            ScheduledWork::FanOut(source) => self.fan_out(source).target,
        }
    }

    pub(crate) fn order(&self) -> &Order {
        &self.order
    }
}
