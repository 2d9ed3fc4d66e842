//! Values whose texts are templates, such as the arguments of a tool.

use super::{RenderError, Template};
use crate::reference::{Reference, Scope};
use crate::value::{Map, Value};

/// A value of the file whose texts are templates, at any depth.
#[derive(Debug, Clone)]
pub enum ValueTemplate {
    /// Text, or the value of a lone placeholder.
    Template(Template),
    /// A value without text.
    Value(Value),
    /// A list of such values.
    List(Vec<ValueTemplate>),
    /// An object of such values; keys are no templates.
    Object(Vec<(String, ValueTemplate)>),
}

impl ValueTemplate {
    /// The value with every placeholder replaced. A text that is exactly one placeholder keeps the
    /// type of its value.
    pub fn value(&self, scope: &dyn Scope) -> Result<Value, RenderError> {
        Ok(match self {
            Self::Template(template) => template.value(scope)?,
            Self::Value(value) => value.clone(),
            Self::List(items) => Value::Array(
                items
                    .iter()
                    .map(|item| item.value(scope))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Object(entries) => {
                let mut object = Map::new();
                for (key, item) in entries {
                    object.insert(key.clone(), item.value(scope)?);
                }
                Value::Object(object)
            }
        })
    }

    /// Calls `visit` with each placeholder's reference, in order.
    pub fn visit_references<'a>(&'a self, visit: &mut dyn FnMut(&'a Reference)) {
        match self {
            Self::Template(template) => template.references().for_each(visit),
            Self::Value(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.visit_references(visit)),
            Self::Object(entries) => entries
                .iter()
                .for_each(|(_, item)| item.visit_references(visit)),
        }
    }
}
