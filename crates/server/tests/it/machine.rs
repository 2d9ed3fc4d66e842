//! A clock that follows Tokio's, and ids that count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engine::host::Host;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

#[derive(Debug)]
pub(crate) struct Machine {
    started: Instant,
    ids: AtomicU64,
    ahead: SignedDuration,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            ids: AtomicU64::new(0),
            ahead: SignedDuration::ZERO,
        }
    }

    /// One whose wall clock is ahead of the others'.
    pub(crate) fn ahead_by(duration: SignedDuration) -> Self {
        Self {
            ahead: duration,
            ..Self::new()
        }
    }
}

#[async_trait]
impl Host for Machine {
    fn now(&self) -> Timestamp {
        let start = Timestamp::from_second(1_764_000_000).unwrap();
        start + self.ahead + SignedDuration::try_from(self.elapsed()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn new_id(&self) -> Uuid {
        // Rising, as UUIDv7 are: the jobs are listed by it.
        let count = self.ids.fetch_add(1, Ordering::Relaxed);
        uuid::Builder::from_unix_timestamp_millis(1_764_000_000_000 + count, &[7; 10]).into_uuid()
    }

    fn random(&self) -> f64 {
        0.5
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
