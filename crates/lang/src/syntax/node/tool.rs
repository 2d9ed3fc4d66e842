//! The keys of a node that calls a tool without a model.

use crate::syntax::grammar::{Key, Shape, key};
use crate::syntax::tools::{ONE_TOOL, Tool};
use crate::syntax::view::{Item, View};
use crate::yaml;

pub(crate) const TOOL: Key = key(
    "tool",
    ONE_TOOL,
    "the tool that a node without a model calls: its name, or an entry as in `tools`",
);

pub(crate) const ARGS: Key = key(
    "args",
    Shape::Open("argument", &Shape::Any, 0),
    "arguments of `tool`; texts in them are templates over the state",
);

/// A call of a tool, read.
pub(crate) struct Call<'a> {
    pub(crate) tool: Tool<'a>,
    pub(crate) args: Vec<(&'a yaml::Key, Item<'a>)>,
}

impl<'a> Call<'a> {
    /// `None` where the node has no readable `tool`.
    pub(super) fn read(node: &View<'a>) -> Option<Self> {
        let args = node.get("args").and_then(|args| args.entries());
        Some(Self {
            tool: Tool::read(&node.get("tool")?)?,
            args: args.unwrap_or_default(),
        })
    }
}
