//! What types and constraints mean for values: parsing their text, coercing values to them.
//! Constraints beyond the type are in `constraints`, named text formats in `format`; the types
//! themselves are in `field.rs`.

mod coerce;
mod constraints;
mod format;
mod parse;
mod scalar;

pub use crate::field::{ObjectSchema, Type};
pub(crate) use constraints::bound;
pub use parse::{NAMES, ParseError};
