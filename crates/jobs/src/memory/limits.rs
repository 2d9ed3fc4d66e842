//! How many ended jobs and events the store keeps.

use std::time::Duration;

/// Limits of ended jobs; all of them apply. The job that ended first is deleted first; its
/// idempotency key stays.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Number of ended jobs.
    pub max_jobs: usize,
    /// Time since a job's end.
    pub max_age: Duration,
    /// Size of all ended jobs together, in bytes.
    pub max_bytes: usize,
    /// Idempotency keys of deleted jobs.
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
