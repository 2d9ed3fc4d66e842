//! Pauses that grow, for what is tried again until it works. Pure: the caller brings the randomness
//! and does the waiting.

use std::time::Duration;

/// How pauses grow from one failure to the next.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The pause after the first failure, before jitter.
    pub first: Duration,
    /// How many times longer each further one is.
    pub growth: u32,
    /// The longest one, before jitter.
    pub longest: Duration,
    /// The share of a pause that jitter may take off: 0.0 for none, 1.0 for all of it. So those
    /// that failed together do not come back together.
    pub jitter: f64,
}

impl Backoff {
    /// The pause after that many failures in a row. `random` is uniform in `0.0..1.0`.
    pub fn pause(&self, failures: u32, random: f64) -> Duration {
        let factor = self.growth.saturating_pow(failures.saturating_sub(1));
        let pause = self.first.saturating_mul(factor).min(self.longest);
        pause.mul_f64(1.0 - self.jitter * (1.0 - random.clamp(0.0, 1.0)))
    }
}

/// Between attempts at a model.
const MODEL_CALLS: Backoff = Backoff {
    first: Duration::from_secs(1),
    growth: 2,
    longest: Duration::from_secs(30),
    jitter: 0.5,
};

/// The pause before the next attempt at a model, after that many have failed.
///
/// `retry_after` is what the provider asked for, and is never undercut, however long it is: a
/// caller that cannot wait so long gives up, or hands in the most that it waits. Up to a tenth is
/// added to it, so that callers refused together do not come back together.
pub(crate) fn before_model_call(
    failures: u32,
    retry_after: Option<Duration>,
    random: f64,
) -> Duration {
    match retry_after {
        None => MODEL_CALLS.pause(failures, random),
        Some(asked) => {
            let added = asked.min(MODEL_CALLS.longest);
            asked.saturating_add(added.mul_f64(random.clamp(0.0, 1.0) / 10.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failures: u32, retry_after_ms: Option<u64>, random: f64, expected_ms: u64) {
        let retry_after = retry_after_ms.map(Duration::from_millis);
        let got = before_model_call(failures, retry_after, random);
        assert_eq!(got, Duration::from_millis(expected_ms));
    }

    #[test]
    fn doubles_up_to_the_cap() {
        check(1, None, 1.0, 1_000);
        check(2, None, 1.0, 2_000);
        check(3, None, 1.0, 4_000);
        check(6, None, 1.0, 30_000);
        check(u32::MAX, None, 1.0, 30_000);
    }

    #[test]
    fn jitter_takes_at_most_half() {
        check(1, None, 0.0, 500);
        check(2, None, 0.5, 1_500);
        check(0, None, 0.0, 500);
    }

    #[test]
    fn never_earlier_than_the_provider_asked() {
        check(1, Some(2_000), 0.0, 2_000);
        check(5, Some(2_000), 1.0, 2_200);
        check(1, Some(3_600_000), 1.0, 3_603_000);
        check(1, Some(0), 0.5, 0);
    }

    #[test]
    fn growth_and_jitter_are_what_they_are_set_to() {
        let backoff = Backoff {
            first: Duration::from_secs(5),
            growth: 3,
            longest: Duration::from_secs(60),
            jitter: 0.0,
        };
        let pauses = [1, 2, 3, 4].map(|failures| backoff.pause(failures, 0.0).as_secs());
        assert_eq!(pauses, [5, 15, 45, 60]);
        let all = Backoff {
            jitter: 1.0,
            ..backoff
        };
        assert_eq!(all.pause(1, 0.0), Duration::ZERO);
        assert_eq!(all.pause(1, 1.0), Duration::from_secs(5));
    }
}
