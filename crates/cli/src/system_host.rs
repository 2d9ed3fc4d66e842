//! The real clock, ids and randomness. This is the only place in the product that takes them from
//! the system.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::host::Host;
use service::access::SecretSource;

/// The system that the process runs on.
#[derive(Debug)]
pub(crate) struct SystemHost {
    started: Instant,
}

impl SystemHost {
    /// Monotonic time counts from now on.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

#[async_trait]
impl Host for SystemHost {
    #[expect(clippy::disallowed_methods, reason = "the injected clock itself")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the injected source of ids itself"
    )]
    fn new_id(&self) -> uuid::Uuid {
        uuid::Uuid::now_v7()
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl llm::Clock for SystemHost {
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl SecretSource for SystemHost {
    fn secret(&self) -> [u8; 32] {
        let mut bits = [0; 32];
        rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut bits)
            .expect("a system without randomness cannot do TLS either");
        bits
    }
}
