//! When a failed delivery is retried: soon at first, then less and less often, for a day.

use std::time::Duration;

use engine::backoff::Backoff;

/// The waits between tries. The longest one also caps what a receiver asks for.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(5),
    growth: 3,
    longest: Duration::from_secs(2 * 60 * 60),
    jitter: 0.5,
};

/// No try begins later than this after the end of the job, except one that a restart finds due.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait after this many failed tries. `random` is uniform in `0.0..1.0`. A receiver that asks
/// for more time gets it, up to the longest wait.
pub(super) fn wait(attempts: u32, asked: Option<Duration>, random: f64) -> Duration {
    let asked = asked.unwrap_or_default().min(BACKOFF.longest);
    BACKOFF.pause(attempts, random).max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attempts: u32, asked: Option<u64>, random: f64, expected_ms: u64) {
        let wait = wait(attempts, asked.map(Duration::from_secs), random);
        assert_eq!(wait, Duration::from_millis(expected_ms));
    }

    #[test]
    fn waits_grow_to_the_longest() {
        check(1, None, 1.0, 5_000);
        check(2, None, 1.0, 15_000);
        check(3, None, 1.0, 45_000);
        check(7, None, 1.0, 3_645_000);
        check(8, None, 1.0, 7_200_000);
        check(u32::MAX, None, 1.0, 7_200_000);
    }

    #[test]
    fn jitter_takes_at_most_half() {
        check(1, None, 0.0, 2_500);
        check(0, None, 0.5, 3_750);
        check(u32::MAX, None, 0.0, 3_600_000);
    }

    #[test]
    fn a_receiver_gets_the_time_it_asks_for_within_reason() {
        check(1, Some(60), 1.0, 60_000);
        check(3, Some(1), 1.0, 45_000);
        check(1, Some(1_000_000), 0.0, 7_200_000);
    }

    #[test]
    fn a_day_has_some_twenty_tries() {
        for random in [0.0, 0.5, 1.0] {
            let (mut at, mut tries) = (Duration::ZERO, 1);
            while at + wait(tries, None, random) <= GIVE_UP_AFTER {
                at += wait(tries, None, random);
                tries += 1;
            }
            assert!((15..=35).contains(&tries), "{tries} with {random}");
        }
    }
}
