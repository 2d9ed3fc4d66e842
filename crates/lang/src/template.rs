//! Prompt templates: `{field}`, `{state.field.inner}`, `{input}`. Owns their form, what a name in them
//! refers to at run time, and rendering as Python's `str()` would (`python`). Which names exist is
//! [`crate::names`]' business.

pub(crate) mod foreign;
mod parse;
pub(crate) mod python;
mod resolve;

use std::borrow::Cow;
use std::sync::Arc;

use crate::source::Span;
use crate::types::ObjectSchema;
use crate::value::Value;
use crate::workflow::{FieldId, NodeId};

pub use parse::{Raw, parse};

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
    /// The schema, when the value is an object that has one: it renders as `name='x' age=None`.
    pub object: Option<Arc<ObjectSchema>>,
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
    /// The text with every placeholder replaced, in one pass: inserted values are never expanded again.
    pub fn render(&self, scope: &dyn Scope) -> Result<String, RenderError> {
        let mut text = String::with_capacity(self.verbatim_length());
        for piece in &self.pieces {
            match piece {
                Piece::Text(verbatim) => text.push_str(verbatim),
                Piece::Placeholder(reference) => {
                    let value = reference.value(scope)?;
                    match &reference.object {
                        Some(schema) => python::write_str(
                            &mut text,
                            &value,
                            Some((schema, &reference.class_name())),
                        ),
                        None => python::write_str(&mut text, &value, None),
                    }
                }
            }
        }
        Ok(text)
    }

    /// A node input's value: the real value when the template is exactly one placeholder, else text.
    pub fn value(&self, scope: &dyn Scope) -> Result<Value, RenderError> {
        match self.only_placeholder() {
            Some(reference) => Ok(reference.value(scope)?.into_owned()),
            None => self.render(scope).map(Value::String),
        }
    }

    /// The placeholder, when the template is nothing else.
    pub fn only_placeholder(&self) -> Option<&Reference> {
        match self.pieces.as_slice() {
            [Piece::Placeholder(reference)] => Some(reference),
            _ => None,
        }
    }

    fn verbatim_length(&self) -> usize {
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Placeholder(_) => 0,
        };
        self.pieces.iter().map(length).sum()
    }

    /// The placeholders, in order.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Placeholder(reference) => Some(reference),
            Piece::Text(_) => None,
        })
    }
}

impl Reference {
    /// The value it leads to.
    pub fn value<'a>(&self, scope: &'a dyn Scope) -> Result<Cow<'a, Value>, RenderError> {
        let Some(root) = scope.get(self.root) else {
            return Err(self.unfilled(0, "has no value here"));
        };
        let stopped = |(depth, value): (usize, &Value)| {
            let key = &self.path[depth];
            let why = match value {
                Value::Null => "is null".to_owned(),
                Value::Object(_) => format!("has no key `{key}`"),
                Value::Array(_) => format!("is a list, which has no `{key}` inside"),
                Value::String(_) => format!("is text, which has no `{key}` inside"),
                Value::Number(_) | Value::Bool(_) => {
                    format!("is a single value, which has no `{key}` inside")
                }
            };
            self.unfilled(self.path.len() - depth, &why)
        };
        match root {
            Cow::Borrowed(root) => self.follow(root).map(Cow::Borrowed).map_err(stopped),
            Cow::Owned(root) if self.path.is_empty() => Ok(Cow::Owned(root)),
            Cow::Owned(root) => self.follow(&root).cloned().map(Cow::Owned).map_err(stopped),
        }
    }

    /// The value it leads to, if there is one.
    pub fn find<'a>(&self, scope: &'a dyn Scope) -> Option<Cow<'a, Value>> {
        match scope.get(self.root)? {
            Cow::Borrowed(root) => self.follow(root).ok().map(Cow::Borrowed),
            Cow::Owned(root) if self.path.is_empty() => Some(Cow::Owned(root)),
            Cow::Owned(root) => self.follow(&root).ok().cloned().map(Cow::Owned),
        }
    }

    /// Follows the keys; where one cannot be followed, its position and the value it is missing from.
    fn follow<'a>(&self, root: &'a Value) -> Result<&'a Value, (usize, &'a Value)> {
        let mut value = root;
        for (depth, key) in self.path.iter().enumerate() {
            value = value
                .as_object()
                .and_then(|entries| entries.get(key))
                .ok_or((depth, value))?;
        }
        Ok(value)
    }

    /// `keys_left` keys from the end of the path remain to be followed.
    fn unfilled(&self, keys_left: usize, why: &str) -> RenderError {
        let cut: usize = self
            .path
            .iter()
            .rev()
            .take(keys_left)
            .map(|key| key.len() + 1)
            .sum();
        let step = &self.text[..self.text.len() - cut];
        RenderError {
            placeholder: self.text.clone(),
            reason: format!("`{step}` {why}"),
        }
    }

    /// The name of the class this object had in the Python original.
    fn class_name(&self) -> String {
        let names = self.text.strip_prefix("state.").unwrap_or(&self.text);
        format!("WorkflowState_{}", names.replace('.', "_"))
    }
}

#[cfg(test)]
mod tests;
