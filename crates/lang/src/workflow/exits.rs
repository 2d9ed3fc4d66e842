//! Where a run goes after a node.

use crate::expr::Condition;
use crate::ids::{FieldId, NodeId};

/// Where an edge leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The end of that branch.
    End,
    /// A node.
    Node(NodeId),
}

/// Everything that leaves one node. All parts apply: unconditional edges all fire, conditional ones
/// and routes choose one target each, the loop chooses, the fan-out runs.
#[derive(Debug, Clone, Default)]
pub struct Exits {
    /// Unconditional edges. With `conditional` present they fire only when no condition holds.
    pub always: Vec<Target>,
    /// Edges with a condition, in file order: the first that holds.
    pub conditional: Vec<(Condition, Vec<Target>)>,
    /// `routes` on the edge.
    pub routes: Option<Routes>,
    /// `loop` on the edge.
    pub repeat: Option<EdgeLoop>,
    /// `parallel` over the items of a list.
    pub fan_out: Option<FanOut>,
}

/// A routes edge.
#[derive(Debug, Clone)]
pub struct Routes {
    /// In file order, the default left out.
    pub cases: Vec<(Condition, Target)>,
    /// When no condition holds.
    pub default: Target,
}

/// A loop edge: after each execution of the node, leave if the field is true, else run it again.
#[derive(Debug, Clone)]
pub struct EdgeLoop {
    /// The bool field that ends the loop.
    pub until: FieldId,
    /// The most executions, 1 to 100.
    pub max_iterations: u32,
    /// Where to go then.
    pub exit_to: Target,
}

/// The node form of a loop: repeat until the condition or the bound, then leave by the ordinary
/// edges.
#[derive(Debug, Clone)]
pub struct Repeat {
    /// Ends the loop when it holds; without one, only `max_iterations` ends it.
    pub until: Option<Condition>,
    /// The most executions, 1 to 100.
    pub max_iterations: u32,
    /// A failing iteration ends the loop with the last good result instead of failing the run
    /// (`break_on_error`).
    pub break_on_error: bool,
}

/// Runs a node once per item of a list and collects the results in order.
#[derive(Debug, Clone)]
pub struct FanOut {
    /// The list field whose items are processed.
    pub items: FieldId,
    /// The node that runs once per item; its own exits are followed once, afterwards.
    pub target: NodeId,
    /// The list field that collects the results.
    pub collect: FieldId,
    /// The most items; with more, the run fails before any item is processed.
    pub max_items: usize,
}
