//! The ids by which fields and nodes of a checked workflow refer to each other: their positions in
//! it.

/// Position of a field in [`Workflow::fields`](crate::workflow::Workflow::fields).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub usize);

/// Position of a node in [`Workflow::nodes`](crate::workflow::Workflow::nodes).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub usize);
