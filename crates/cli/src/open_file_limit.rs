//! The limit on open files, and how many connections it allows. Every connection takes a
//! descriptor, and every running job another one for its provider.

use std::num::NonZeroUsize;

/// The limit to aim for: enough for 10,000 runs, their clients and their providers, with a reserve.
const WANTED: u64 = 65_536;

/// The least that a server without `--max-running` should have.
const ENOUGH: u64 = 4_096;

/// Descriptors for everything but runs: the store's files, logs, clients that watch events.
const SPARE: u64 = 100;

/// The smallest default limit on connections.
const FEWEST: u64 = 16;

/// Raises the limit as far as the system allows, and warns if that is not enough. Returns how many
/// connections the limit allows, if it is known.
pub(crate) fn raise(max_running: Option<usize>) -> Option<NonZeroUsize> {
    match rlimit::increase_nofile_limit(WANTED) {
        Ok(limit) => {
            if let Some(needed) = lacking(limit, max_running) {
                tracing::warn!(
                    limit,
                    needed,
                    "the limit on open files is too low for the allowed number of runs and could not be raised; \
                     raise it with ulimit -n, or lower --max-running"
                );
            }
            connections(limit)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit on open files; see ulimit -n");
            None
        }
    }
}

/// Half of the limit: each connection may start a run, which takes another descriptor for its
/// provider. So many clients cannot use up the descriptors of the store and of provider
/// connections.
fn connections(limit: u64) -> Option<NonZeroUsize> {
    let half = (limit.saturating_sub(SPARE) / 2).max(FEWEST);
    NonZeroUsize::new(usize::try_from(half).unwrap_or(usize::MAX))
}

/// The number of descriptors needed, if the limit is lower: two for each run, one to its client and
/// one to its provider.
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
