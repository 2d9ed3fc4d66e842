//! The condition language: `state.score >= 8 and (state.kind in ['a', 'b'] or not state.done)`.
//! Owns its grammar (`parse`), the check of names and types (`check`) and evaluation (`eval`).
//! Which names exist is decided in [`crate::names`].
//!
//! Binding, tightest first: comparisons (`== != < <= > >=`, `in`, `not in`), `not`, `and`, `or`.

mod check;
mod error;
mod eval;
mod lex;
mod parse;
mod tree;

pub use error::ExprError;
pub use parse::{Raw, parse};
pub use tree::Condition;

#[cfg(test)]
mod tests;
