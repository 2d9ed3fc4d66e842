//! The limit on open descriptors. Every connection takes one, and every run in flight another to its provider.

/// Enough for 10,000 runs in flight, their clients and providers, and room to spare.
const WANTED: u64 = 65_536;

/// What a server must have for whose runs nobody has set a number.
const ENOUGH: u64 = 4_096;

/// Beside those of runs: the store's files, the logs, people who watch.
const SPARE: u64 = 100;

/// Raises the limit as far as the system lets us, and says so when that is not enough.
pub(crate) fn raise(max_running: Option<usize>) {
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
        }
        Err(error) => {
            tracing::warn!(%error, "the limit on open files could not be raised; see ulimit -n");
        }
    }
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
