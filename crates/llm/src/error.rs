//! What can go wrong with a model call, classified by what the caller can do about it.

use std::time::Duration;

use crate::chat::Usage;

/// A failed model call. Messages are safe to show: no key, no prompt, bounded length.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The class.
    pub kind: ErrorKind,
    /// One sentence for people, naming provider and model, with the way out where there is one.
    pub message: String,
    /// The provider's HTTP status, if it answered.
    pub status: Option<u16>,
    /// How long the provider asked to wait.
    pub retry_after: Option<Duration>,
    /// What the call has to be taken to have cost all the same.
    pub spent: Spent,
}

/// What a failed call took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// It was refused, or never sent.
    Nothing,
    /// It was sent, and nobody knows what the provider did.
    Unknown,
    /// So much.
    Tokens(Usage),
}

impl Error {
    /// An error that no HTTP answer stands behind. One for want of a good answer in time may have
    /// been paid for, any other has not.
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
    /// Not set up: no key, unknown provider, an address that is none or leads to something else.
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
    /// No (complete) answer in time.
    Timeout,
    /// No connection, or it broke.
    Network,
    /// The provider answered something that is not its protocol.
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
