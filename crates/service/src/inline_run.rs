//! A run that is executed by the request that waits for it.
//!
//! Most clients wait for the end of their run. The task of their request can execute it: no task is
//! spawned, and none has to be woken at the end. When the request stops waiting, because its time
//! is up or its connection is gone, the run moves to a task of its own and continues there.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio_util::task::TaskTracker;

use crate::submission::Accepted;

/// An accepted run that is executed in [`Service::wait_inline`]. Wait for it or drop it right away,
/// since nothing else executes it. Dropping it does not stop the run.
///
/// [`Service::wait_inline`]: crate::Service::wait_inline
#[derive(Debug)]
pub struct InlineRun {
    /// The handle, as for any accepted run.
    pub accepted: Accepted,
    pub(crate) rest: Detachable,
}

/// The rest of a submission and its run: whoever holds it polls it, and when it is dropped
/// unfinished it continues as a task of its own.
pub(crate) struct Detachable {
    /// `None` once it is done.
    rest: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Waits for the task of its own.
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

    /// Does the work until it has sent that; `None` where it ends without. Only the work can send
    /// it, so it is looked for after each step, which spares this task a wake-up by itself.
    pub(crate) async fn until<T>(&mut self, mut sent: oneshot::Receiver<T>) -> Option<T> {
        poll_fn(|context| {
            self.go_on(context);
            match sent.try_recv() {
                Ok(value) => Poll::Ready(Some(value)),
                Err(TryRecvError::Closed) => Poll::Ready(None),
                Err(TryRecvError::Empty) => Poll::Pending,
            }
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
        // Taken out meanwhile, so that work that panics does not continue.
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
