//! A run that whoever waits for it executes.
//!
//! Most callers of a run wait for its end. The task they wait on may as well do the work: nothing is
//! spawned, and nobody has to wake anybody to tell the end. When they stop waiting, whether their time
//! is up or their connection is gone, the run moves to a task of its own and goes on there.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::submission::Accepted;

/// A run that was accepted and is executed by whoever holds it, in [`Service::wait_inline`]. To be
/// waited for or dropped right away: nothing else executes it. Dropping it does not stop the run.
///
/// [`Service::wait_inline`]: crate::Service::wait_inline
#[derive(Debug)]
pub struct InlineRun {
    /// The handle that others get.
    pub accepted: Accepted,
    pub(crate) rest: Detachable,
}

/// What remains to be done of a submission and its run.
pub(crate) struct Detachable {
    /// `None` once it is done.
    rest: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Where it goes on.
    tasks: TaskTracker,
    runtime: Handle,
}

impl Detachable {
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) fn new(tasks: TaskTracker, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            rest: Some(Box::pin(work)),
            tasks,
            runtime: Handle::current(),
        }
    }

    /// Does the work for as long as something else takes; looks at that after each step of the work.
    pub(crate) async fn until<F: Future>(&mut self, other: F) -> F::Output {
        let mut other = pin!(other);
        poll_fn(|context| {
            self.go_on(context);
            other.as_mut().poll(context)
        })
        .await
    }

    /// Does the work to its end.
    pub(crate) async fn finish(&mut self) {
        poll_fn(|context| {
            self.go_on(context);
            if self.rest.is_none() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        // Taken out meanwhile: work that panics is not gone on with.
        if let Some(mut work) = self.rest.take()
            && work.as_mut().poll(context).is_pending()
        {
            self.rest = Some(work);
        }
    }
}

impl Drop for Detachable {
    fn drop(&mut self) {
        if let Some(work) = self.rest.take() {
            self.tasks.spawn_on(work, &self.runtime);
        }
    }
}

impl std::fmt::Debug for Detachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detachable")
            .field("is_done", &self.rest.is_none())
            .finish_non_exhaustive()
    }
}
