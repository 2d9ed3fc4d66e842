//! The limit on open descriptors. Every connection takes one, and every run in flight another to its provider.

/// Enough for 10,000 runs in flight, their clients and providers, and room to spare.
const WANTED: u64 = 65_536;

/// Raises the limit as far as the system lets us, and says so when that is not far.
pub(crate) fn raise() {
    match rlimit::increase_nofile_limit(WANTED) {
        Ok(limit) if limit >= WANTED => {}
        Ok(limit) => tracing::warn!(
            limit,
            wanted = WANTED,
            "the limit on open files, and so on connections, could not be raised further; see ulimit -n"
        ),
        Err(error) => {
            tracing::warn!(%error, "the limit on open files could not be raised; see ulimit -n");
        }
    }
}
