//! Pauses that grow, for what is tried again until it works.

use std::time::Duration;

use engine::backoff::Backoff;
use engine::host::Host;

/// For a store that does not answer.
const STORE: Backoff = Backoff {
    first: Duration::from_millis(100),
    growth: 2,
    longest: Duration::from_secs(10),
    jitter: 0.0,
};

/// How often something was tried in vain.
#[derive(Debug)]
pub(crate) struct Retries {
    backoff: Backoff,
    failures: u32,
}

impl Retries {
    /// Of a store that does not answer.
    pub(crate) fn of_store() -> Self {
        Self {
            backoff: STORE,
            failures: 0,
        }
    }

    /// How long to wait before the next try.
    pub(crate) fn next_pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.pause(self.failures, 1.0)
    }

    /// Waits before the next try.
    pub(crate) async fn pause(&mut self, host: &dyn Host) {
        host.sleep(self.next_pause()).await;
    }
}
