//! What is wrong with an answer that none can be read from.

use crate::transport::failure::Refusal;

/// Why an answer with a success status is no answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Fault {
    /// Not the provider's protocol; says what is wrong.
    Malformed(String),
    /// The provider's protocol, without an answer in it.
    NoAnswer,
    /// A text in place of an answer.
    PlainText(String),
    /// The stream ended without saying that the answer is complete.
    Truncated,
    /// The provider reported an error all the same.
    Refused(Refusal),
    /// A filter left nothing of the answer; the provider's reason.
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
