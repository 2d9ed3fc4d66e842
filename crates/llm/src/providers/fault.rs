//! What is wrong with a reply that contains no readable answer.

use crate::transport::failure::Refusal;

/// Why a reply with a success status contains no answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Fault {
    /// It does not follow the provider's protocol; says what is wrong.
    Malformed(String),
    /// It follows the provider's protocol but contains no answer.
    NoAnswer,
    /// A text instead of an answer.
    PlainText(String),
    /// The stream ended without saying that the answer is complete.
    Truncated,
    /// The provider reported an error despite the status.
    Refused(Refusal),
    /// A filter withheld the whole answer; the provider's reason.
    Filtered(String),
}

impl From<serde_json::Error> for Fault {
    /// Position only: the text of a parse error may quote the answer.
    fn from(error: serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Data => "JSON of an unknown shape",
            _ => "no valid JSON",
        };
        Self::Malformed(format!(
            "{what} at line {}, column {}",
            error.line(),
            error.column()
        ))
    }
}
