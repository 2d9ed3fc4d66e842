//! Limits and times of a service.

use std::sync::Arc;
use std::time::Duration;

use lang::workflow::CaptureLevel;

/// Limits and times.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Runs that are executed at once; further ones wait in the store.
    pub max_running: usize,
    /// Jobs that may wait; further ones are refused. `None` for any number.
    pub max_queued: Option<usize>,
    /// No other process uses the store while this one does. So whatever is running in it at the
    /// start was left by a dead process, and continues at once instead of when its lease has
    /// expired.
    pub exclusive_store: bool,
    /// The name of this process among those that share a store, for people.
    pub replica_name: Arc<str>,
    /// How long jobs stay with a process that does not renew its lease.
    pub lease: Duration,
    /// How often a run may be started without completing a node before it is given up as one that
    /// takes its process down. A completed node, or item of a fan-out, resets the count.
    pub max_starts: u32,
    /// The deadline of runs that ask for none.
    pub default_deadline: Option<Duration>,
    /// Fan-out items in flight at once, in each run.
    pub fan_out: usize,
    /// Events and deltas that a watcher may lag behind a run before it has to read them from the
    /// store, which has no deltas. Takes memory only while a run is watched.
    pub event_buffer: usize,
    /// How long jobs are kept after their end. Zero: until a client has read how they ended; jobs
    /// that no client reads are kept for [`UNREAD_KEPT`](crate::UNREAD_KEPT). A delivered webhook
    /// counts as reading, and a job whose webhook is not settled stays.
    pub retention: Duration,
    /// Bytes that the store may take. Beyond them, the jobs that ended first are removed early.
    pub max_store_bytes: Option<u64>,
    /// The most that telemetry may capture of a run, whatever its workflow allows.
    pub capture: CaptureLevel,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_running: 16_384,
            max_queued: Some(100_000),
            exclusive_store: false,
            replica_name: "flowmill".into(),
            lease: Duration::from_secs(30),
            max_starts: 5,
            default_deadline: None,
            fan_out: 16,
            event_buffer: 256,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            max_store_bytes: None,
            capture: CaptureLevel::Full,
        }
    }
}
