//! flowmill's workflow language: YAML or JSON text in, a checked [`Workflow`](workflow::Workflow)
//! and [`Diagnostic`](diagnostic::Diagnostic)s out.
//!
//! This crate is pure: no file, network, clock or async. The caller reads the file, hands its text
//! to [`check()`], and renders the diagnostics.

mod check;
pub mod diagnostic;
pub mod expr;
pub mod fault;
/// What `fuzz/` calls; each function takes any bytes.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod json;
pub mod names;
pub mod privacy;
pub mod schema;
pub mod source;
pub mod suggest;
mod syntax;
pub mod template;
pub mod types;
pub mod value;
pub mod visible;
pub mod workflow;
pub mod yaml;

use std::sync::Arc;

/// What checking a file found: the workflow if there is no error, and everything to be said of it.
#[derive(Debug)]
pub struct Checked {
    /// Present exactly when `diagnostics` holds no error.
    pub workflow: Option<Arc<workflow::Workflow>>,
    /// In source order; warnings included.
    pub diagnostics: Vec<diagnostic::Diagnostic>,
}

/// Checks a workflow file's text. The format follows the extension of `source.name`
/// (`.yaml`, `.yml`, `.json`, any letter case); another one is a diagnostic.
pub fn check(source: &source::Source) -> Checked {
    check::check(source)
}
