//! The thread that sends everything, and the treatment of a sink that does not answer: one warning,
//! growing waits between attempts, and one log line when it answers again.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::backoff::Backoff;
use tokio::sync::{oneshot, watch};

/// The task of one sink, which runs until it is told to finish.
pub(crate) type Worker = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the workers to finish.
pub(crate) type Closing = watch::Receiver<bool>;

/// Waits until the process is about to end.
pub(crate) async fn closed(closing: &mut Closing) {
    // An error means that the sender is gone, which amounts to the same.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// The exporter thread.
#[derive(Debug)]
pub(crate) struct Exporter {
    close: watch::Sender<bool>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Exporter {
    /// Starts the thread with the workers that `make` returns.
    pub(crate) fn start(make: impl FnOnce(Closing) -> Vec<Worker>) -> std::io::Result<Self> {
        let (close, closing) = watch::channel(false);
        let (tell_end, ended) = oneshot::channel();
        let workers = make(closing);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("telemetry".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let workers: Vec<_> = workers.into_iter().map(tokio::spawn).collect();
                    for worker in workers {
                        // A panic has been logged already, and only affects telemetry.
                        let _ = worker.await;
                    }
                });
                // A hanging name lookup must not keep the process alive.
                runtime.shutdown_background();
                let _ = tell_end.send(());
            })?;
        Ok(Self {
            close,
            ended: Mutex::new(Some(ended)),
        })
    }

    /// Sends what is left until `limit` is over. Returns whether everything was processed in time.
    pub(crate) async fn close(&self, limit: impl Future<Output = ()>) -> bool {
        let _ = self.close.send(true);
        let ended = self
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(ended) = ended else { return true };
        tokio::select! {
            biased;
            _ = ended => true,
            () = limit => false,
        }
    }
}

/// How long a sink that does not answer is left alone.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(500),
    growth: 2,
    longest: Duration::from_secs(32),
    jitter: 0.25,
};

/// Whether a sink is reachable, as its worker has observed.
#[derive(Debug)]
pub(crate) struct SinkHealth {
    sink: &'static str,
    failures: u32,
    dropped_before: u64,
}

impl SinkHealth {
    pub(crate) fn new(sink: &'static str) -> Self {
        Self {
            sink,
            failures: 0,
            dropped_before: 0,
        }
    }

    /// Records a failure, and returns how long to wait before the next attempt. Only the first
    /// failure in a row is logged.
    pub(crate) fn failed(&mut self, why: &str, dropped: u64, random: f64) -> Duration {
        if self.failures == 0 {
            self.dropped_before = dropped;
            tracing::warn!(
                sink = self.sink,
                error = why,
                "cannot reach the telemetry endpoint; retrying, runs are not affected"
            );
        }
        self.failures = self.failures.saturating_add(1);
        BACKOFF.pause(self.failures, random)
    }

    /// Records a success.
    pub(crate) fn answered(&mut self, dropped: u64) {
        if self.failures > 0 {
            tracing::info!(
                sink = self.sink,
                dropped = dropped.saturating_sub(self.dropped_before),
                "the telemetry endpoint is reachable again"
            );
        }
        self.failures = 0;
    }

    pub(crate) fn is_down(&self) -> bool {
        self.failures > 0
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

/// Warns that telemetry could not be sent before the process ends.
pub(crate) fn tell_lost(sink: &str, what: &str, count: usize) {
    if count > 0 {
        tracing::warn!(
            sink,
            count,
            "some telemetry could not be sent before the end: {what} are missing"
        );
    }
}

/// Thins out a repeated log line: it is due the first time, the 10th, the 100th, …
#[derive(Debug, Default)]
pub(crate) struct LogThrottle {
    events: u64,
}

impl LogThrottle {
    /// Counts an event. Returns the number of events so far if a log line is due.
    pub(crate) fn due(&mut self) -> Option<u64> {
        self.events += 1;
        let is_power = |number: u64| {
            let mut power = 1_u64;
            while power < number {
                power = power.saturating_mul(10);
            }
            power == number
        };
        is_power(self.events).then_some(self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_told_less_and_less() {
        let mut throttle = LogThrottle::default();
        let told: Vec<u64> = (0..1000).filter_map(|_| throttle.due()).collect();
        assert_eq!(told, [1, 10, 100, 1000]);
    }

    #[test]
    fn a_sink_that_stays_away_is_asked_less_and_less_up_to_half_a_minute() {
        let mut health = SinkHealth::new("test");
        let waits: Vec<u64> = (0..12)
            .map(|_| {
                health
                    .failed("refused", 0, 1.0)
                    .as_millis()
                    .try_into()
                    .unwrap()
            })
            .collect();
        assert_eq!(&waits[..3], [500, 1000, 2000]);
        assert_eq!(waits[11], 32_000);
        health.answered(0);
        assert!(!health.is_down());
    }
}
