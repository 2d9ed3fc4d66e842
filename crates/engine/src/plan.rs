//! What is worked out once per workflow and then shared by all its runs: what each node asks for, and
//! which node waits for which.

use std::sync::Arc;

use lang::workflow::{FanOut, LlmSettings, ModelNode, Node, NodeId, NodeKind, Workflow};
use llm::chat::{AnswerFilter, OutputFormat};
use llm::model::ModelSpec;

use crate::order::Order;
use crate::progress::ScheduledWork;

/// Longest name every provider takes for an output format.
const MAX_FORMAT_NAME: usize = 64;

/// A checked workflow, made ready to run. Build it once per workflow and share it between runs.
#[derive(Debug)]
pub struct Plan {
    workflow: Arc<Workflow>,
    /// The workflow's name, for events.
    name: Arc<str>,
    nodes: Vec<NodePlan>,
    order: Order,
}

/// What of a node is the same in every run.
#[derive(Debug)]
pub(crate) struct NodePlan {
    /// The node's id, for requests and events.
    pub(crate) id: Arc<str>,
    /// What its kind of work needs.
    pub(crate) kind: KindPlan,
}

/// What a kind of node needs to do its work, the same in every run.
#[derive(Debug)]
pub(crate) enum KindPlan {
    Model(ModelPlan),
    Code,
}

/// The parts of a model node's requests that are the same in every run.
#[derive(Debug)]
pub(crate) struct ModelPlan {
    /// What the model has to answer.
    pub(crate) format: OutputFormat,
    /// Which model is asked.
    pub(crate) model: ModelSpec,
}

impl Plan {
    /// Works everything out.
    pub fn new(workflow: Arc<Workflow>) -> Self {
        let ids = (0..workflow.nodes.len()).map(NodeId);
        let nodes = ids.map(|id| NodePlan::new(&workflow, id)).collect();
        let order = Order::new(&workflow);
        Self {
            name: Arc::from(workflow.name.as_str()),
            workflow,
            nodes,
            order,
        }
    }

    /// The workflow it was built from.
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

impl NodePlan {
    fn new(workflow: &Arc<Workflow>, id: NodeId) -> Self {
        let node = &workflow.nodes[id.0];
        Self {
            id: Arc::from(node.id.as_str()),
            kind: match &node.kind {
                NodeKind::Model(asked) => KindPlan::Model(ModelPlan::new(workflow, id, asked)),
                NodeKind::Code(_) => KindPlan::Code,
            },
        }
    }

    /// What is asked, if the node asks a model.
    pub(crate) fn model(&self) -> Option<&ModelPlan> {
        match &self.kind {
            KindPlan::Model(model) => Some(model),
            KindPlan::Code => None,
        }
    }
}

impl ModelPlan {
    fn new(workflow: &Arc<Workflow>, id: NodeId, asked: &ModelNode) -> Self {
        let node = &workflow.nodes[id.0];
        let fitting = Arc::clone(workflow);
        Self {
            format: OutputFormat {
                name: Arc::from(format_name(&node.id)),
                description: node.output.description.as_deref().map(Arc::from),
                schema: Arc::new(node.output.json_schema()),
                filter: AnswerFilter::new(move |answer| {
                    fitting.nodes[id.0].output.read(answer).is_ok()
                }),
            },
            model: model_spec(&asked.llm),
        }
    }
}

fn model_spec(settings: &LlmSettings) -> ModelSpec {
    ModelSpec {
        provider: settings.provider.clone(),
        model: settings.model.clone(),
        api_base: settings.api_base.clone(),
        api_key_env: settings.api_key_env.clone(),
    }
}

/// `Output_<node id>`, in the letters and length that every provider takes for a function's name.
fn format_name(node_id: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    "Output_"
        .chars()
        .chain(node_id.chars().map(plain))
        .take(MAX_FORMAT_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_names_are_what_every_provider_takes() {
        let check = |id: &str, expected: &str| assert_eq!(format_name(id), expected);
        check("ask", "Output_ask");
        check("ask_2", "Output_ask_2");
        check("größe", "Output_gr__e");
        check(&"x".repeat(100), &format!("Output_{}", "x".repeat(57)));
    }
}
