//! Clock, ids and randomness. They are injected, so that tests control them.

use std::time::Duration;

use async_trait::async_trait;

/// Clock, ids and randomness.
#[async_trait]
pub trait Host: Send + Sync + std::fmt::Debug {
    /// Wall clock.
    fn now(&self) -> jiff::Timestamp;
    /// Monotonic time since a fixed start.
    fn elapsed(&self) -> Duration;
    /// A fresh UUID of version 7.
    fn new_id(&self) -> uuid::Uuid;
    /// Uniform in `0.0..1.0`.
    fn random(&self) -> f64;
    /// Returns after that time.
    async fn sleep(&self, duration: Duration);
}
