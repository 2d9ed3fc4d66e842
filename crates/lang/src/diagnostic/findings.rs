//! Collecting diagnostics, up to a limit: a hostile file can hold more faults than anybody reads.

use super::{Diagnostic, Severity, code};
use crate::source::Span;

/// Most diagnostics listed for one file.
const MOST: usize = 500;

/// The diagnostics found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Diagnostic>,
    left_out: usize,
    errors: bool,
}

impl Findings {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.errors |= diagnostic.severity == Severity::Error;
        if self.is_full() {
            self.left_out += 1;
        } else {
            self.list.push(diagnostic);
        }
    }

    /// Whether further diagnostics are only counted, so that suggestions for them are wasted work.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MOST
    }

    /// Whether any was an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors
    }

    /// All of them, in source order.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|diagnostic| diagnostic.span.start);
        if self.left_out > 0 {
            self.list.push(Diagnostic {
                code: code::MORE_FINDINGS,
                severity: if self.errors {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                path: String::new(),
                message: format!("{} more findings are not listed", self.left_out),
                suggestion: Some("fix those above and check again".to_owned()),
                did_you_mean: None,
                span: Span::default(),
            });
        }
        self.list
    }
}
