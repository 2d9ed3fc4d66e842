//! The table of the kinds of nodes: one row per kind.

use std::sync::Arc;

use lang::workflow::{NodeId, NodeKind, Workflow};
use llm::model::Models;

use crate::outcome::{Failure, NodeUsage};
use crate::steps::code::CodePlan;
use crate::steps::kind::{Execution, Kind};
use crate::steps::model::ModelPlan;
use crate::steps::outputs::Outputs;
use crate::steps::tool::ToolPlan;

/// Makes an enum of the kinds with the functions of [`Kind`]. It is not a trait object, because
/// each execution through a trait object would be an allocation.
macro_rules! kinds {
    ($($kind:ident => $plan:ty,)*) => {
        /// A prepared node of any kind.
        #[derive(Debug)]
        pub(crate) enum KindPlan {
            $($kind($plan),)*
        }

        impl KindPlan {
            /// See [`Kind::plan`].
            pub(crate) fn new(workflow: &Arc<Workflow>, id: NodeId) -> Self {
                match &workflow.nodes[id.0].kind {
                    $(NodeKind::$kind(node) => Self::$kind(<$plan>::plan(workflow, id, node)),)*
                }
            }

            /// See [`Kind::preflight`].
            pub(crate) fn preflight(&self, node_id: &str, models: &dyn Models) -> Result<(), Failure> {
                match self {
                    $(Self::$kind(plan) => plan.preflight(node_id, models),)*
                }
            }

            /// See [`Kind::execute`].
            pub(crate) async fn execute(
                &self,
                execution: &Execution<'_>,
                usage: &mut NodeUsage,
            ) -> Result<Outputs, Failure> {
                match (self, &execution.node().kind) {
                    $((Self::$kind(plan), NodeKind::$kind(node)) => {
                        plan.execute(node, execution, usage).await
                    })*
                    _ => unreachable!("a node is prepared by its own kind"),
                }
            }
        }
    };
}

kinds! {
    Model => ModelPlan,
    Code => CodePlan,
    Tool => ToolPlan,
}
