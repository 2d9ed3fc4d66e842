//! What a name in a placeholder or a condition refers to, and where its value comes from.

use std::borrow::Cow;

use crate::ids::{FieldId, NodeId};
use crate::source::Span;
use crate::value::Value;

/// What a placeholder or a condition's name refers to, resolved at check time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The variable that the value is read from.
    pub root: Root,
    /// Keys to follow from there, into objects and dicts.
    pub path: Vec<String>,
    /// As written, for messages: `state.user.name`.
    pub text: String,
    /// Where it stands in the workflow file.
    pub span: Span,
}

/// A variable a reference starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// A state field.
    Field(FieldId),
    /// The node's own input, by its position in `Node::inputs`.
    Input(usize),
    /// `_loop_iteration_<node>`: finished executions of that node in this run.
    LoopIteration(NodeId),
    /// `_parallel_item` in the target of a parallel edge.
    ParallelItem,
    /// `_parallel_index`, from 0.
    ParallelIndex,
    /// `value`, in a field's own check.
    CheckedValue,
}

/// Where references get their values. The engine implements it.
pub trait Scope {
    /// The value of a variable; `None` where it does not exist here.
    fn get(&self, root: Root) -> Option<Cow<'_, Value>>;
}

impl Reference {
    /// The value it leads to, if there is one.
    pub fn find<'a>(&self, scope: &'a dyn Scope) -> Option<Cow<'a, Value>> {
        match scope.get(self.root)? {
            Cow::Borrowed(root) => self.follow(root).ok().map(Cow::Borrowed),
            Cow::Owned(root) if self.path.is_empty() => Some(Cow::Owned(root)),
            Cow::Owned(root) => self.follow(&root).ok().cloned().map(Cow::Owned),
        }
    }

    /// Follows the keys; where one cannot be followed, its position and the value it is missing
    /// from.
    pub(crate) fn follow<'a>(&self, root: &'a Value) -> Result<&'a Value, (usize, &'a Value)> {
        let mut value = root;
        for (depth, key) in self.path.iter().enumerate() {
            value = value
                .as_object()
                .and_then(|entries| entries.get(key))
                .ok_or((depth, value))?;
        }
        Ok(value)
    }
}
