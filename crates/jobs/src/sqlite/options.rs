//! What can be set of a store in a file.

use std::time::Duration;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a lock that another program holds on the file is waited for.
    pub busy_timeout: Duration,
    /// The file's greatest size; beyond it writes fail as on a full disk. `None`: as the disk
    /// allows.
    pub max_bytes: Option<u64>,
    /// Length of the log at which it is copied into the file; less where the reserve is small.
    pub checkpoint_bytes: u64,
    /// From when on readers are made to wait so that the write-ahead log can begin anew.
    pub max_log_bytes: u64,
    /// Space on the disk that is kept for forgetting jobs when it is full, less on a small disk: a
    /// file `….reserve`.
    pub reserve_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            max_bytes: None,
            checkpoint_bytes: 8_192_000,
            max_log_bytes: 64 << 20,
            reserve_bytes: 0,
        }
    }
}
