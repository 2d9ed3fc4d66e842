//! flowmill's workflow language: YAML or JSON text in, a checked [`Workflow`](workflow::Workflow)
//! and [`Diagnostic`](diagnostic::Diagnostic)s out.
//!
//! This crate is pure: no file, network, clock or async. The caller reads the file, hands its text
//! to [`check()`], and renders the diagnostics.

mod check;
pub mod diagnostic;
pub mod duration;
pub mod expr;
pub mod fault;
mod field;
/// What `fuzz/` calls; each function takes any bytes.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod ids;
pub mod json;
pub mod names;
pub mod privacy;
pub mod reference;
mod rule;
pub mod schema;
pub mod source;
pub mod suggest;
mod syntax;
pub mod template;
pub mod tools;
pub mod types;
pub mod value;
pub mod visible;
pub mod workflow;
pub mod yaml;

pub use check::{Checked, check};
