//! The JSON of providers, read liberally: a field of another type than expected is no field,
//! numbers may be written as texts or with a point, and nearly JSON will do.

mod containers;
mod document;
mod scalars;
mod text;
pub(super) mod visit;

pub(crate) use containers::{List, Maybe};
pub(crate) use document::{Document, documents, is_something, parse};
pub(crate) use scalars::{Count, Flag, Word};
pub(crate) use text::Text;
pub(crate) use visit::object;
