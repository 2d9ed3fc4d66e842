//! What can go wrong with a model call, classified by what the caller can do about it.

use std::time::Duration;

use crate::chat::Usage;

/// A failed model call. Messages are safe to show: no key, no prompt, bounded length.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind of failure.
    pub kind: ErrorKind,
    /// One sentence for people that names provider and model, and says what to do if there is
    /// something.
    pub message: String,
    /// The provider's HTTP status, if it answered.
    pub status: Option<u16>,
    /// How long the provider asked us to wait.
    pub retry_after: Option<Duration>,
    /// What the failed call has to be assumed to have cost.
    pub spent: Spent,
}

/// What a failed call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// Nothing: it was refused or never sent.
    Nothing,
    /// Unknown: it was sent, and nobody knows what the provider did.
    Unknown,
    /// That many tokens.
    Tokens(Usage),
}

impl Error {
    /// An error without an HTTP answer. A call without a good answer in time may have cost
    /// something, any other has not.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            spent: match kind {
                ErrorKind::Timeout | ErrorKind::BadReply => Spent::Unknown,
                _ => Spent::Nothing,
            },
            kind,
            message: message.into(),
            status: None,
            retry_after: None,
        }
    }
}

/// Classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Not set up correctly: no key, an unknown provider, an invalid address, or one of something
    /// else.
    Config,
    /// 401/403: the key was refused.
    Auth,
    /// 429.
    RateLimit,
    /// 429 or 402 whose text says the account is out of credit: waiting does not help.
    QuotaExhausted,
    /// 503/529/500/502/504.
    Overloaded,
    /// The prompt does not fit the model.
    ContextTooLong,
    /// A filter refused the prompt or the answer.
    ContentFilter,
    /// Any other 4xx.
    BadRequest,
    /// No complete answer in time.
    Timeout,
    /// No connection, or a broken one.
    Network,
    /// The answer does not follow the provider's protocol.
    BadReply,
    /// A cassette or script has no (further) reply for this call.
    NoRecording,
}

impl ErrorKind {
    /// Whether the same call may succeed later.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimit | Self::Overloaded | Self::Timeout | Self::Network | Self::BadReply
        )
    }
}
