//! The error of a text that is not a condition.

use crate::source::Span;
use crate::suggest::Suggestion;

/// Why a text is not a condition.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// Byte range of the condition's text.
    pub span: Span,
    /// What is wrong, in one sentence.
    pub message: String,
    /// How to fix it.
    pub suggestion: Option<Suggestion>,
}

pub(super) fn error(span: Span, message: impl Into<String>) -> ExprError {
    ExprError {
        span,
        message: message.into(),
        suggestion: None,
    }
}

pub(super) fn advise(
    span: Span,
    message: impl Into<String>,
    advice: impl Into<String>,
) -> ExprError {
    ExprError {
        span,
        message: message.into(),
        suggestion: Some(Suggestion::advice(advice)),
    }
}
