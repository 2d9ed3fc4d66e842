//! Value types: parsing their text, coercing values to them, assignability.

use std::sync::Arc;

use crate::workflow::Field;

/// A state or output type.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// `str`
    Str,
    /// `int`
    Int,
    /// `float`
    Float,
    /// `bool`
    Bool,
    /// `list` (any items) or `list[T]`
    List(Option<Box<Type>>),
    /// `dict` (any values) or `dict[K, V]`
    Dict(Option<Box<(Type, Type)>>),
    /// `object`; without a schema (inside brackets) any mapping fits.
    Object(Option<Arc<ObjectSchema>>),
}

/// The inner fields of an `object`, in declaration order.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectSchema {
    /// Declaration order.
    pub fields: Vec<Field>,
}
