//! Settings of the store in a file.

use std::time::Duration;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long to wait for a lock that another program holds on the file.
    pub busy_timeout: Duration,
    /// Greatest size of the file; beyond it writes fail as on a full disk. `None`: no limit but the
    /// disk.
    pub max_bytes: Option<u64>,
    /// Length of the log at which it is copied into the file; less if the reserve is small.
    pub checkpoint_bytes: u64,
    /// Length of the log from which on readers have to wait so that it can be restarted.
    pub max_log_bytes: u64,
    /// Space reserved for deleting jobs on a full disk, less on a small disk: a file `….reserve`.
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
