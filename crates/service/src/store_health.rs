//! Whether the store is writable, as far as is known. While it is not, no run makes its first model
//! call: a result that cannot be stored would be paid for in vain.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::host::Host;
use jobs::store::{Error, JobStore};
use tokio::sync::Notify;

/// How long a good answer of the store is relied on.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// How long after a failed write it is doubtful whether another will succeed: on an almost full
/// disk small ones do.
const DOUBTFUL_FOR: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct StoreHealth {
    is_failing: AtomicBool,
    /// Milliseconds on the host's monotonic clock plus one; 0 where no write has failed.
    last_failure: AtomicU64,
    has_recovered: Notify,
    /// On the host's monotonic clock.
    last_good: Mutex<Option<Duration>>,
}

impl StoreHealth {
    /// Notes the error of a write that failed.
    pub(crate) fn note(&self, error: &Error, host: &dyn Host) {
        if matches!(error, Error::Unavailable(_)) {
            let now = u64::try_from(host.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last_failure
                .store(now.saturating_add(1), Ordering::SeqCst);
            self.is_failing.store(true, Ordering::SeqCst);
        }
    }

    /// Whether a write failed and none has succeeded since.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::SeqCst)
    }

    /// Whether a run should be stored before it costs anything.
    pub(crate) fn is_doubtful(&self, host: &dyn Host) -> bool {
        let last_failure = Duration::from_millis(self.last_failure.load(Ordering::SeqCst));
        !last_failure.is_zero() && host.elapsed() < last_failure + DOUBTFUL_FOR
    }

    /// Waits until the store is writable. Another task has to [`check`](Self::check) it meanwhile.
    pub(crate) async fn recovered(&self) {
        loop {
            let recovered = self.has_recovered.notified();
            if !self.is_failing() {
                return;
            }
            recovered.await;
        }
    }

    /// Tests the store, unless that succeeded a moment ago.
    pub(crate) async fn is_ready(
        &self,
        store: &dyn JobStore,
        host: &dyn Host,
    ) -> Result<(), Error> {
        let last_good = *self
            .last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_good = last_good.is_some_and(|at| host.elapsed().saturating_sub(at) < GOOD_FOR);
        if is_good && !self.is_failing() {
            return Ok(());
        }
        self.check(store, host).await
    }

    /// Tests the store.
    pub(crate) async fn check(&self, store: &dyn JobStore, host: &dyn Host) -> Result<(), Error> {
        let answer = store.ping().await;
        match &answer {
            Ok(()) => {
                *self
                    .last_good
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(host.elapsed());
                if self.is_failing.swap(false, Ordering::SeqCst) {
                    tracing::info!("the job store is writable again");
                    self.has_recovered.notify_waiters();
                }
            }
            Err(error) => self.note(error, host),
        }
        answer
    }
}
