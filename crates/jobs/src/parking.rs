//! Jobs that wait for something outside: an approval, a point in time, another job. A waiting job
//! holds no lease and no slot; a wake-up, or the time it has set, puts it back into the queue.
//!
//! A wake-up is a message to the job. It stays with the job until the job ends, and every claim
//! hands it to the run, so a crash loses none. A wake-up may arrive before the run parks (a fast
//! approval): it is kept, and the park finds it and queues the job at once. So a run may be woken
//! by something that it does not wait for any more; it looks at its wake-ups and parks again.

use std::sync::Arc;

use jiff::Timestamp;

use crate::job::Status;
use crate::json::Json;

/// Wake-ups that one job takes at most: others can send them.
pub const MAX_WAKE_UPS: usize = 1_000;

/// What a job waits for. Stores look at `wakes_at` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Such as `approval`.
    pub kind: Arc<str>,
    /// From when on the job counts as queued, though nobody wakes it.
    pub wakes_at: Option<Timestamp>,
    /// Whatever else there is to say of it.
    pub details: Option<Json>,
}

/// Something that a waiting run is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeUp {
    /// Names what has happened. A job is woken once by each key, however often that is sent.
    pub key: Arc<str>,
    /// For the run, which reads it when it goes on.
    pub payload: Option<Json>,
    /// When it was sent.
    pub at: Timestamp,
}

/// What came of parking a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parked {
    /// It waits; the lease has ended.
    Waiting,
    /// A wake-up had arrived since the job was claimed, so it is in the queue again; the lease has
    /// ended.
    Queued,
    /// The job has been asked to stop. Nothing was stored, and the lease still holds: its holder
    /// ends it.
    Cancelling,
}

/// What came of a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The job waited, and is in the queue again.
    Queued,
    /// The job does not wait. Its run finds the wake-up when it is claimed or when it parks.
    Kept,
    /// The job had been woken by this key before. Nothing was changed.
    Known,
    /// The job had already ended this way. Nothing was changed.
    Ended(Status),
}
