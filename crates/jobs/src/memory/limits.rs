//! How much is kept.

use std::time::Duration;

/// How much is remembered of jobs that ended; whatever is reached first. The oldest end goes first;
/// its idempotency key stays.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Jobs.
    pub max_jobs: usize,
    /// Since their end.
    pub max_age: Duration,
    /// All together, in bytes.
    pub max_bytes: usize,
    /// Idempotency keys of jobs that are forgotten.
    pub max_keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_jobs: 10_000,
            max_age: Duration::from_secs(7 * 24 * 60 * 60),
            max_bytes: 128 << 20,
            max_keys: 100_000,
        }
    }
}
