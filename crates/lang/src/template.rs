//! Prompt templates: `{field}`, `{state.field.inner}`, `{input}`. Parsing, resolution, rendering as
//! Python's `str()` would.

use crate::source::Span;
use crate::value::Value;
use crate::workflow::{FieldId, NodeId};

/// What a placeholder or a condition's name refers to, resolved at check time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The variable.
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
    fn get(&self, root: Root) -> Option<std::borrow::Cow<'_, Value>>;
}

/// A parsed and resolved template.
#[derive(Debug, Clone)]
pub struct Template {
    /// In order.
    pub pieces: Vec<Piece>,
}

/// A run of text or a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Verbatim.
    Text(String),
    /// To be replaced by a value.
    Placeholder(Reference),
}

/// A placeholder had no value at run time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("placeholder `{{{placeholder}}}` cannot be filled: {reason}")]
pub struct RenderError {
    /// As written.
    pub placeholder: String,
    /// Which step failed and why, without values.
    pub reason: String,
}

impl Template {
    /// The text with every placeholder replaced, in one pass.
    pub fn render(&self, _scope: &dyn Scope) -> Result<String, RenderError> {
        todo!("helper `values`")
    }

    /// A node input's value: the real value when the template is exactly one placeholder, else text.
    pub fn value(&self, _scope: &dyn Scope) -> Result<Value, RenderError> {
        todo!("helper `values`")
    }
}
