//! Completing what was begun, even if the client that asked for it leaves.
//!
//! A request's future is dropped when its client leaves, at any `await`. A change must not stop
//! there: between a commit and what follows from it in memory, or before it is known whether the
//! commit happened. So every use case that changes something runs as a task of its own, and the
//! request only waits for it. (`tests/it/leaving.rs` tests this for all of them.)

use std::panic::resume_unwind;

use tokio_util::task::TaskTracker;

/// Does the work on a task that `tasks` waits for, and returns its result. Dropping this does not
/// stop it.
///
/// # Panics
/// Where the work does.
pub(crate) async fn completed<T: Send + 'static>(
    tasks: &TaskTracker,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    match tasks.spawn(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Only where the runtime ends, and this with it.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
