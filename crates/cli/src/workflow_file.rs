//! Reads and checks workflow files and shows their diagnostics.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lang::Checked;
use lang::diagnostic::{Diagnostic, Severity, render};
use lang::source::Source;
use lang::workflow::Workflow;

use crate::config::text;
use crate::failure::{Exit, Failure, Result};
use crate::printer::{self, Look};

/// A workflow file, read and checked.
#[derive(Debug)]
pub(crate) struct CheckedFile {
    /// The file's text.
    pub source: Source,
    /// The workflow and its diagnostics.
    pub checked: Checked,
}

impl CheckedFile {
    /// Reads and checks a file; fails only if the file cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Ok(Self::check(text::read_workflow(path)?))
    }

    /// Checks a text.
    pub(crate) fn check(source: Source) -> Self {
        let checked = lang::check(&source);
        Self { source, checked }
    }

    /// Prints the diagnostics to stderr.
    pub(crate) fn print_findings(&self) {
        let findings = render_human(
            &self.source,
            &self.checked.diagnostics,
            printer::stderr_look(),
        );
        if !findings.is_empty() {
            printer::styled_note(&findings);
        }
    }

    /// The failure of a command whose file has errors.
    pub(crate) fn refusal(&self) -> Failure {
        let counts = Counts::of(&self.checked.diagnostics);
        Failure::new(
            Exit::Invalid,
            format!("{} is not valid: {counts}", self.source.name),
        )
    }

    /// Whether the file may be used; with `strict`, warnings count as errors.
    pub(crate) fn is_valid(&self, strict: bool) -> bool {
        self.checked.workflow.is_some() && (!strict || self.checked.diagnostics.is_empty())
    }
}

/// Reads and checks a file to be used. Diagnostics go to stderr; an error among them is a failure.
pub(crate) fn load(path: &Path) -> Result<(Source, Arc<Workflow>)> {
    load_text(text::read_workflow(path)?)
}

/// Checks a text to be used, as [`load`] does.
pub(crate) fn load_text(source: Source) -> Result<(Source, Arc<Workflow>)> {
    let report = CheckedFile::check(source);
    report.print_findings();
    match report.checked.workflow {
        Some(workflow) => Ok((report.source, workflow)),
        None => Err(report.refusal()),
    }
}

/// The diagnostics with source excerpts, fitted to the stream, and a pointer to `explain`; empty if
/// there are none.
pub(crate) fn render_human(source: &Source, diagnostics: &[Diagnostic], look: Look) -> String {
    let worst = diagnostics
        .iter()
        .find(|diagnostic| diagnostic.severity == Severity::Error);
    let Some(example) = worst.or(diagnostics.first()) else {
        return String::new();
    };
    let findings = render::human(source, diagnostics, look.color, look.width);
    format!(
        "{}\n\nfor more about a code, try `flowmill explain {}`\n",
        findings.trim_end(),
        example.code
    )
}

/// Numbers of diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Errors, which forbid a run.
    pub errors: usize,
    /// Warnings, which do not.
    pub warnings: usize,
}

impl Counts {
    pub(crate) fn of(diagnostics: &[Diagnostic]) -> Self {
        let errors = diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .count();
        Self {
            errors,
            warnings: diagnostics.len() - errors,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.errors, self.warnings) {
            (errors, 0) => f.write_str(&many(errors, "error")),
            (0, warnings) => f.write_str(&many(warnings, "warning")),
            (errors, warnings) => write!(
                f,
                "{} and {}",
                many(errors, "error"),
                many(warnings, "warning")
            ),
        }
    }
}

/// `1 node`, `2 nodes`.
pub(crate) fn many(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}
