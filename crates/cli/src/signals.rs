//! Ctrl-C and SIGTERM.

use std::future::pending;
use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for the next Ctrl-C or SIGTERM. Where the system refuses to tell of one, its default stays: it ends the process.
pub(crate) async fn terminated() {
    let next = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "a signal cannot be listened for");
                pending::<()>().await;
            }
        }
    };
    match select(
        pin!(next(SignalKind::interrupt())),
        pin!(next(SignalKind::terminate())),
    )
    .await
    {
        Either::Left(_) | Either::Right(_) => {}
    }
}
