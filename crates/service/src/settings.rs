//! Limits and times of a service.

use std::time::Duration;

use lang::workflow::CaptureLevel;

/// Limits and times.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Runs at once; more of them wait in the store.
    pub max_running: usize,
    /// Jobs that may wait; more are refused. `None`: any number.
    pub max_queued: Option<usize>,
    /// No other process uses the store while this one does: whatever ran in it when this one began was
    /// left by a dead one, and goes on at once instead of when its lease has lapsed.
    pub exclusive_store: bool,
    /// How long a job stays with a process that gives no sign of life.
    pub lease: Duration,
    /// Starts of a run of which none completes a node before it is given up as one that takes its process
    /// down. A node that completes, or an item of a fan-out, lets them be counted anew.
    pub max_starts: u32,
    /// For runs that ask for no deadline of their own.
    pub default_deadline: Option<Duration>,
    /// Fan-out items in flight at once, in each run.
    pub fan_out: usize,
    /// Events and deltas a watcher may lag behind a run before it is sent to the store for them (where
    /// it does not find the deltas). Memory is taken only while somebody watches.
    pub event_buffer: usize,
    /// Jobs are forgotten this long after their end. Zero: as soon as somebody has read how they ended;
    /// those that nobody asks for are kept for [`UNREAD_KEPT`](crate::UNREAD_KEPT). A webhook that was
    /// delivered counts as reading, and until it is settled the job stays.
    pub retention: Duration,
    /// Bytes the store may take; beyond it the jobs that ended first are forgotten before their time.
    pub max_store_bytes: Option<u64>,
    /// Most that telemetry may keep of any run, whatever its workflow allows.
    pub capture: CaptureLevel,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_running: 16_384,
            max_queued: Some(100_000),
            exclusive_store: false,
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
