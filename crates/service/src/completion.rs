//! Doing something to its end, whatever becomes of whoever asked for it.
//!
//! A request's future is dropped when its client leaves, at any `await`. What changes something must
//! not stop there: between a commit and what follows from it in memory, or before it is known whether
//! the commit happened. So every use case that changes something runs as a task of its own; whoever
//! asked only waits for that. (`tests/it/leaving.rs` holds all of them to it.)

use std::panic::resume_unwind;

use tokio_util::task::TaskTracker;

/// Does the work on a task that `tasks` waits for, and gives its result. Dropping this does not stop it.
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
