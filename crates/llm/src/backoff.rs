//! How long to wait before a failed model call is tried again. Pure: the caller provides the
//! randomness and waits.

use std::time::Duration;

/// The wait after the first failure, before jitter.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest wait that does not come from a provider, before jitter.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The wait before the next attempt.
///
/// `attempt` counts the attempts that failed so far, from 1. `retry_after` is what the provider
/// asked for, and is never undercut, however long it is: a caller that cannot wait so long gives
/// up, or hands in the most that it waits. `random` is uniform in `0.0..1.0`. Without `retry_after`
/// the wait lies between half and all of [`FIRST`] doubled per attempt and capped at [`LONGEST`];
/// with it, up to a tenth is added, so that callers refused together do not come back together.
pub fn delay(attempt: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let random = random.clamp(0.0, 1.0);
    if let Some(asked) = retry_after {
        return asked.saturating_add(asked.min(LONGEST).mul_f64(random / 10.0));
    }
    let doublings = attempt.saturating_sub(1).min(16);
    FIRST
        .saturating_mul(1 << doublings)
        .min(LONGEST)
        .mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attempt: u32, retry_after_ms: Option<u64>, random: f64, expected_ms: u64) {
        let got = delay(attempt, retry_after_ms.map(Duration::from_millis), random);
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
}
