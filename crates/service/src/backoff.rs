//! Pauses that grow, for what is tried again until it works.

use std::time::Duration;

use engine::host::Host;

/// Doubles from the first pause to the longest.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// For a store that does not answer.
    pub(crate) fn for_store() -> Self {
        Self {
            next: Duration::from_millis(100),
            longest: Duration::from_secs(10),
        }
    }

    /// For a look at a job that does not run here.
    pub(crate) fn for_polling() -> Self {
        Self {
            next: Duration::from_millis(25),
            longest: Duration::from_secs(1),
        }
    }

    pub(crate) async fn pause(&mut self, host: &dyn Host) {
        host.sleep(self.next).await;
        self.next = self.longest.min(self.next * 2);
    }
}
