//! Idempotency keys and what they were used for.

use jiff::Timestamp;

use crate::job::{JobId, Status};

/// An idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) scope: String,
    pub(super) key: String,
}

/// What a key was used for.
#[derive(Debug)]
pub(super) struct KeyUse {
    pub(super) fingerprint: String,
    pub(super) job: JobId,
    pub(super) at: Timestamp,
    /// How the job ended, once it has been deleted.
    pub(super) forgotten: Option<Status>,
}
