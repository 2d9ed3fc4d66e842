//! Prompt templates: `{field}`, `{state.field.inner}`, `{input}`. Owns their form
//! and rendering as Python's `str()` would (`python`). Which names exist is
//! decided in [`crate::names`].

pub(crate) mod foreign;
mod nested;
mod parse;
pub(crate) mod python;
mod resolve;

use std::borrow::Cow;
use std::sync::Arc;

use crate::field::ObjectSchema;
use crate::reference::{Reference, Scope};
use crate::value::Value;

pub use nested::ValueTemplate;
pub use parse::{Raw, parse};

/// A parsed and resolved template.
#[derive(Debug, Clone)]
pub struct Template {
    /// The pieces in order.
    pub pieces: Vec<Piece>,
}

/// A run of text or a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text that is copied as it is.
    Text(String),
    /// To be replaced by a value.
    Placeholder(Placeholder),
}

/// A reference that a value is put in place of.
#[derive(Debug, Clone, PartialEq)]
pub struct Placeholder {
    /// What it refers to.
    pub reference: Reference,
    /// The schema, when the value is an object that has one: it renders as `name='x' age=None`.
    pub object: Option<Arc<ObjectSchema>>,
}

/// A placeholder had no value at run time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("placeholder `{{{placeholder}}}` cannot be filled: {reason}")]
pub struct RenderError {
    /// The placeholder as written.
    pub placeholder: String,
    /// Which step failed and why, without values.
    pub reason: String,
}

impl Template {
    /// The text with every placeholder replaced, in one pass: inserted values are never expanded
    /// again.
    pub fn render(&self, scope: &dyn Scope) -> Result<String, RenderError> {
        let mut text = String::with_capacity(self.verbatim_length());
        for piece in &self.pieces {
            match piece {
                Piece::Text(verbatim) => text.push_str(verbatim),
                Piece::Placeholder(placeholder) => {
                    let value = placeholder.value(scope)?;
                    match &placeholder.object {
                        Some(schema) => python::write_str(
                            &mut text,
                            &value,
                            Some((schema, &placeholder.class_name())),
                        ),
                        None => python::write_str(&mut text, &value, None),
                    }
                }
            }
        }
        Ok(text)
    }

    /// A node input's value: the real value when the template is exactly one placeholder, else
    /// text.
    pub fn value(&self, scope: &dyn Scope) -> Result<Value, RenderError> {
        match self.only_placeholder() {
            Some(placeholder) => Ok(placeholder.value(scope)?.into_owned()),
            None => self.render(scope).map(Value::String),
        }
    }

    /// The placeholder, when the template is nothing else.
    pub fn only_placeholder(&self) -> Option<&Placeholder> {
        match self.pieces.as_slice() {
            [Piece::Placeholder(placeholder)] => Some(placeholder),
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

    /// What its placeholders refer to, in order.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Placeholder(placeholder) => Some(&placeholder.reference),
            Piece::Text(_) => None,
        })
    }
}

impl Placeholder {
    /// The value it leads to.
    pub fn value<'a>(&self, scope: &'a dyn Scope) -> Result<Cow<'a, Value>, RenderError> {
        let reference = &self.reference;
        let Some(root) = scope.get(reference.root) else {
            return Err(self.unfilled(0, "has no value here"));
        };
        let stopped = |(depth, value): (usize, &Value)| {
            let key = &reference.path[depth];
            let why = match value {
                Value::Null => "is null".to_owned(),
                Value::Object(_) => format!("has no key `{key}`"),
                Value::Array(_) => format!("is a list, which has no `{key}` inside"),
                Value::String(_) => format!("is text, which has no `{key}` inside"),
                Value::Number(_) | Value::Bool(_) => {
                    format!("is a single value, which has no `{key}` inside")
                }
            };
            self.unfilled(reference.path.len() - depth, &why)
        };
        match root {
            Cow::Borrowed(root) => reference.follow(root).map(Cow::Borrowed).map_err(stopped),
            Cow::Owned(root) if reference.path.is_empty() => Ok(Cow::Owned(root)),
            Cow::Owned(root) => reference
                .follow(&root)
                .cloned()
                .map(Cow::Owned)
                .map_err(stopped),
        }
    }

    /// `keys_left` keys from the end of the path remain to be followed.
    fn unfilled(&self, keys_left: usize, why: &str) -> RenderError {
        let Reference { path, text, .. } = &self.reference;
        let cut: usize = path
            .iter()
            .rev()
            .take(keys_left)
            .map(|key| key.len() + 1)
            .sum();
        let step = &text[..text.len() - cut];
        RenderError {
            placeholder: text.clone(),
            reason: format!("`{step}` {why}"),
        }
    }

    /// The name of the class this object had in the Python original.
    fn class_name(&self) -> String {
        let text = &self.reference.text;
        let names = text.strip_prefix("state.").unwrap_or(text);
        format!("WorkflowState_{}", names.replace('.', "_"))
    }
}

#[cfg(test)]
mod tests;
