//! What the rules share while they check one file: where findings go, and the bounds on costly
//! work.

use super::comparisons::Comparisons;
use super::patterns::Patterns;
use crate::diagnostic::findings::Findings;
use crate::diagnostic::{Diagnostic, Severity, code};
use crate::source::Span;
use crate::suggest::Suggestion;
use crate::syntax::location::{Location, Path};

/// Collects findings about one text.
pub(super) struct Context<'a> {
    pub(super) text: &'a str,
    pub(super) findings: &'a mut Findings,
    pub(super) patterns: Patterns,
    pub(super) comparisons: Comparisons,
}

impl<'a> Context<'a> {
    pub(super) fn new(text: &'a str, findings: &'a mut Findings) -> Self {
        Self {
            text,
            findings,
            patterns: Patterns::default(),
            comparisons: Comparisons::default(),
        }
    }

    /// The text of that part of the file.
    pub(super) fn written(&self, span: Span) -> &'a str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }
}

impl Context<'_> {
    pub(super) fn error(
        &mut self,
        code: &'static str,
        location: &Location,
        message: impl Into<String>,
        suggestion: Option<Suggestion>,
    ) {
        self.report(code, Severity::Error, location, message, suggestion);
    }

    pub(super) fn warning(
        &mut self,
        code: &'static str,
        location: &Location,
        message: impl Into<String>,
        suggestion: Option<Suggestion>,
    ) {
        self.report(code, Severity::Warning, location, message, suggestion);
    }

    pub(super) fn report(
        &mut self,
        code: &'static str,
        severity: Severity,
        location: &Location,
        message: impl Into<String>,
        suggestion: Option<Suggestion>,
    ) {
        let diagnostic = Diagnostic {
            code,
            severity,
            path: location.path.to_string(),
            message: message.into(),
            suggestion: None,
            did_you_mean: None,
            span: location.span,
        };
        self.findings.push(match suggestion {
            Some(suggestion) => diagnostic.suggesting(suggestion),
            None => diagnostic,
        });
    }

    pub(super) fn not_a_mapping(&mut self, found: &str, span: Span) {
        let location = Location::new(Path::default(), span);
        let message = format!(
            "{found}; a workflow is a mapping with the keys `schema_version`, `flow` and so on"
        );
        let advice = Suggestion::advice("`flowmill init` writes a workflow to start from");
        self.error(code::NOT_A_MAPPING, &location, message, Some(advice));
    }

    /// What to suggest for an unknown word; nothing once the list of findings is full.
    pub(super) fn suggest<'n>(
        &self,
        word: &str,
        known: impl IntoIterator<Item = &'n str> + Clone,
    ) -> Option<Suggestion> {
        let worth_it =
            !self.findings.is_full() && self.comparisons.spend(known.clone().into_iter().count());
        worth_it.then(|| Suggestion::among(word, known)).flatten()
    }
}
