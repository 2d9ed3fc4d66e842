//! The bounds that keep a hostile file harmless, and the diagnostics of files that exceed them.

use crate::diagnostic::{Diagnostic, Severity, code};
use crate::source::Span;

/// Longest text read, in bytes.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// Deepest nesting read; aliases count with the depth of what they stand for.
pub(super) const MAX_DEPTH: usize = 128;
/// Most values in a file, each alias counted with all it stands for.
pub(super) const MAX_VALUES: usize = 250_000;

/// A fault of the file as a whole: its path is empty.
pub(super) fn fault(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        code,
        severity: Severity::Error,
        path: String::new(),
        message: message.into(),
        suggestion: None,
        did_you_mean: None,
        span,
    }
}

pub(super) fn too_many_values(span: Span) -> Diagnostic {
    fault(
        code::TOO_MANY_VALUES,
        span,
        format!(
            "the file holds more than {MAX_VALUES} values, aliases counted with all they stand for"
        ),
    )
}

pub(super) fn too_deep(span: Span) -> Diagnostic {
    fault(
        code::TOO_DEEP,
        span,
        format!("values are nested deeper than {MAX_DEPTH} levels here"),
    )
}
