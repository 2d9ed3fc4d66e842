//! Diagnostics as plain data. Rendering is in `render`, the table of codes in `codes`.

use crate::source::Span;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The workflow cannot run.
    Error,
    /// It runs, but probably not as meant.
    Warning,
}

/// One finding about a workflow file.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Stable, such as `FM0123`; `flowmill explain` prints its page.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// Dotted key path of the fault, such as `nodes.0.outputs.1`; empty for the whole file.
    pub path: String,
    /// One sentence, without a trailing full stop where it ends in a word list.
    pub message: String,
    /// The way out: a "did you mean" name alone when that is what it is (see `did_you_mean`), else a sentence.
    pub suggestion: Option<String>,
    /// The bare name meant, when `suggestion` proposes one.
    pub did_you_mean: Option<String>,
    /// Where.
    pub span: Span,
}
