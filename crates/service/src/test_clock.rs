//! A host for unit tests, whose clock is set by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engine::host::Host;
use jiff::{SignedDuration, Timestamp};

/// Seconds since the start, and since 1970.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

#[async_trait]
impl Host for TestClock {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.elapsed()).unwrap();
        Timestamp::UNIX_EPOCH + elapsed
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn new_id(&self) -> uuid::Uuid {
        uuid::Uuid::nil()
    }

    fn random(&self) -> f64 {
        0.0
    }

    async fn sleep(&self, _: Duration) {}
}
