//! The limit on open descriptors, and how many connections it is enough for. Every connection takes one, and every
//! run in flight another to its provider.

use std::num::NonZeroUsize;

/// Enough for 10,000 runs in flight, their clients and providers, and room to spare.
const WANTED: u64 = 65_536;

/// What a server must have for whose runs nobody has set a number.
const ENOUGH: u64 = 4_096;

/// Beside those of runs: the store's files, the logs, people who watch.
const SPARE: u64 = 100;

/// Fewest connections that a server takes by default.
const FEWEST: u64 = 16;

/// Raises the limit as far as the system lets us, and says so when that is not enough. How many connections it
/// is good for, if it is known.
pub(crate) fn raise(max_running: Option<usize>) -> Option<NonZeroUsize> {
    match rlimit::increase_nofile_limit(WANTED) {
        Ok(limit) => {
            if let Some(needed) = lacking(limit, max_running) {
                tracing::warn!(
                    limit,
                    needed,
                    "the limit on open files is too low for as many runs as are allowed, and could not be \
                     raised further; raise it with ulimit -n, or lower --max-running"
                );
            }
            connections(limit)
        }
        Err(error) => {
            tracing::warn!(%error, "the limit on open files could not be raised; see ulimit -n");
            None
        }
    }
}

/// One half: behind each connection there may be a run, which takes one more to its provider. So a crowd at the
/// port takes neither the store's files nor the providers' connections away.
fn connections(limit: u64) -> Option<NonZeroUsize> {
    let half = (limit.saturating_sub(SPARE) / 2).max(FEWEST);
    NonZeroUsize::new(usize::try_from(half).unwrap_or(usize::MAX))
}

/// How many descriptors are needed, where the limit allows fewer: two for a run, one to its client and one
/// to its provider.
fn lacking(limit: u64, max_running: Option<usize>) -> Option<u64> {
    let needed = max_running.map_or(ENOUGH, |runs| {
        u64::try_from(runs)
            .unwrap_or(u64::MAX)
            .saturating_mul(2)
            .saturating_add(SPARE)
    });
    (limit < needed).then_some(needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_are_for_connections() {
        let check = |limit: u64, expected: usize| {
            assert_eq!(
                connections(limit).map(NonZeroUsize::get),
                Some(expected),
                "{limit}"
            );
        };
        check(65_536, 32_718);
        check(1_024, 462);
        check(64, 16);
    }

    #[test]
    fn a_limit_is_too_low_only_for_what_the_settings_need() {
        let check = |limit: u64, max_running: Option<usize>, expected: Option<u64>| {
            assert_eq!(
                lacking(limit, max_running),
                expected,
                "{limit} {max_running:?}"
            );
        };
        check(20_000, None, None);
        check(1_024, None, Some(4_096));
        check(1_024, Some(100), None);
        check(20_000, Some(9_950), None);
        check(20_000, Some(10_000), Some(20_100));
        check(u64::MAX, Some(usize::MAX), None);
    }
}
