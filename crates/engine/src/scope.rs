//! The variables of placeholders and conditions during a run.

use std::borrow::Cow;

use lang::reference::{Root, Scope};
use lang::workflow::NodeId;
use serde_json::Value;

use crate::progress::{Counters, Progress};

/// The variables that are visible to one node or condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variables<'a> {
    state: &'a [Value],
    counters: &'a [Counters],
    inputs: &'a [Value],
    item: Option<(usize, &'a Value)>,
}

impl<'a> Variables<'a> {
    /// The state and the loop counters.
    pub(crate) fn new(state: &'a [Value], counters: &'a [Counters]) -> Self {
        Self {
            state,
            counters,
            inputs: &[],
            item: None,
        }
    }

    /// The state and the loop counters between two steps.
    pub(crate) fn of(progress: &'a Progress) -> Self {
        Self::new(&progress.state, &progress.counters)
    }

    /// Adds one item of a fan-out with its index.
    pub(crate) fn with_item(self, item: Option<(usize, &'a Value)>) -> Self {
        Self { item, ..self }
    }

    /// Adds a node's own inputs.
    pub(crate) fn with_inputs(self, inputs: &'a [Value]) -> Self {
        Self { inputs, ..self }
    }

    /// The counters of a node.
    pub(crate) fn counters(&self, node: NodeId) -> Counters {
        self.counters[node.0]
    }
}

impl Scope for Variables<'_> {
    fn get(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Field(field) => self.state.get(field.0).map(Cow::Borrowed),
            Root::Input(position) => self.inputs.get(position).map(Cow::Borrowed),
            Root::LoopIteration(node) => self
                .counters
                .get(node.0)
                .map(|counters| Cow::Owned(Value::from(counters.finished))),
            Root::ParallelItem => self.item.map(|(_, item)| Cow::Borrowed(item)),
            Root::ParallelIndex => self.item.map(|(index, _)| Cow::Owned(Value::from(index))),
            Root::CheckedValue => None,
        }
    }
}
