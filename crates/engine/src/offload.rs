//! Runs work on large data without delaying the other tasks of the thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Work on at most this many bytes is done in place: it takes some hundred microseconds.
pub const MAX_INLINE_BYTES: usize = 128 << 10;

/// Does the work. If it is long, the other tasks of this thread move to another thread meanwhile.
pub fn run<T>(is_long: bool, work: impl FnOnce() -> T) -> T {
    let has_other_threads = || {
        Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if is_long && has_other_threads() {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn on_the_only_thread_it_is_done_in_place() {
        assert_eq!(run(true, || 7), 7);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn long_work_does_not_stop_the_other_tasks_of_its_thread() {
        let working = tokio::spawn(async {
            let (send, receive) = mpsc::channel();
            tokio::spawn(async move { send.send("served") });
            run(true, || receive.recv())
        });
        assert_eq!(working.await.expect("no panic"), Ok("served"));
    }
}
