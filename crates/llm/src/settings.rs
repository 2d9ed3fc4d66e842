//! What the composition root gives this crate: environment variables, extra roots, limits, prices.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outbound::Environment;

use crate::model::DEFAULT_MAX_RETRY_AFTER;
use crate::pricing::PriceTable;
use crate::reach::Reach;

/// The time, as this crate needs it. Injected, so that tests control it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Monotonic time since some fixed start.
    fn elapsed(&self) -> Duration;
}

/// A clock that stands still.
#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// Everything a [`Registry`](crate::Registry) needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Keys, base addresses, proxies.
    pub environment: Environment,
    /// Certificates trusted besides the bundled roots, in PEM.
    pub extra_roots_pem: Option<Vec<u8>>,
    /// Decides which addresses workflow files may name; `None`: any.
    pub reach: Option<Arc<dyn Reach>>,
    /// Prices for the cost of each call.
    pub prices: Arc<PriceTable>,
    /// Tells when what was learned from a server's refusals expires.
    pub clock: Arc<dyn Clock>,
    /// Longest time to reach a server, TLS included.
    pub connect_timeout: Duration,
    /// Longest silence inside a streamed answer that has begun. The time to its first byte, and
    /// answers that are not streamed, are bounded by the call's own timeout only.
    pub silence_timeout: Duration,
    /// Longest answer body, decompressed.
    pub max_body_bytes: usize,
    /// Of all answers that are being read, beyond the first 64 KiB of each; at least one answer
    /// fits in any case.
    pub max_bodies_bytes: usize,
    /// Longest wait that a provider's `Retry-After` can impose on a run without a deadline.
    pub max_retry_after: Duration,
}

impl Default for Settings {
    /// No variables, bundled roots, any address, built-in prices, a clock that stands still, 10 s
    /// to connect, 90 s of silence, 32 MiB of an answer and 128 MiB of all, 10 minutes until the
    /// next attempt.
    fn default() -> Self {
        Self {
            environment: Environment::default(),
            extra_roots_pem: None,
            reach: None,
            prices: Arc::new(PriceTable::built_in()),
            clock: Arc::new(Stopped),
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(90),
            max_body_bytes: 32 << 20,
            max_bodies_bytes: 128 << 20,
            max_retry_after: DEFAULT_MAX_RETRY_AFTER,
        }
    }
}
