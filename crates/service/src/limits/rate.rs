//! Requests per minute: a token bucket, kept as the time at which it will be full again (GCRA).

use std::num::NonZeroU32;
use std::time::Duration;

const MINUTE_NS: u64 = 60_000_000_000;

/// The state of a limit per minute after a request that it allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Requests per minute.
    pub most: u32,
    /// How many more it allows at once.
    pub left: u32,
    /// The time until all of them are allowed again.
    pub full_in: Duration,
}

/// When the bucket will be full, on the host's monotonic clock. A time in the past means full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TokenBucket(u64);

impl TokenBucket {
    /// Takes a token, or returns the time until there is one.
    pub(super) fn take(&mut self, most: NonZeroU32, now: Duration) -> Result<Window, Duration> {
        let now = nanoseconds(now);
        let every = MINUTE_NS / u64::from(most.get());
        let taken = self.0.saturating_sub(now).saturating_add(every);
        if taken > MINUTE_NS {
            return Err(Duration::from_nanos(taken - MINUTE_NS));
        }
        self.0 = now.saturating_add(taken);
        Ok(Window {
            most: most.get(),
            left: u32::try_from((MINUTE_NS - taken) / every)
                .map_or(most.get(), |left| left.min(most.get())),
            full_in: Duration::from_nanos(taken),
        })
    }
}

fn nanoseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn most(requests: u32) -> NonZeroU32 {
        NonZeroU32::new(requests).unwrap()
    }

    #[test]
    fn a_burst_is_let_through_and_then_one_at_a_time() {
        let mut bucket = TokenBucket::default();
        for left in (0..60).rev() {
            let window = bucket.take(most(60), SECOND).unwrap();
            assert_eq!((window.most, window.left), (60, left));
        }
        assert_eq!(bucket.take(most(60), SECOND), Err(SECOND));
        assert_eq!(bucket.take(most(60), SECOND * 3 / 2), Err(SECOND / 2));
        let window = bucket.take(most(60), SECOND * 2).unwrap();
        assert_eq!((window.left, window.full_in), (0, SECOND * 60));
        assert_eq!(bucket, TokenBucket(62_000_000_000));
        assert_eq!(bucket.take(most(60), SECOND * 100).unwrap().left, 59);
    }

    #[test]
    fn a_refusal_costs_nothing() {
        let mut bucket = TokenBucket::default();
        bucket.take(most(1), SECOND).unwrap();
        for _ in 0..100 {
            assert_eq!(bucket.take(most(1), SECOND), Err(SECOND * 60));
        }
        assert!(bucket.take(most(1), SECOND * 61).is_ok());
    }

    /// In any minute no more than the burst and a minute's worth pass, and never fewer than a
    /// minute's.
    #[test]
    fn over_an_hour_it_lets_through_what_it_says() {
        for limit in [1, 7, 60, 1_000] {
            let mut bucket = TokenBucket::default();
            let mut passed = 0;
            for tenth in 0..36_000 {
                let now = Duration::from_millis(100 * tenth);
                while bucket.take(most(limit), now).is_ok() {
                    passed += 1;
                }
            }
            let expected = u64::from(limit) * 61;
            assert!(
                (expected - u64::from(limit).div_ceil(50)..=expected).contains(&passed),
                "{limit}: {passed}"
            );
        }
    }

    #[test]
    fn the_ends_of_the_range_hold() {
        let mut bucket = TokenBucket::default();
        assert!(bucket.take(NonZeroU32::MAX, Duration::ZERO).is_ok());
        assert!(bucket.take(NonZeroU32::MIN, Duration::MAX).is_ok());
    }
}
