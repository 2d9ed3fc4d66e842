//! Work whose time depends on how much others sent, kept from delaying what else a thread serves.

use tokio::runtime::{Handle, RuntimeFlavor};

/// What is done in place, in bytes: within some hundred microseconds.
pub const QUICK: usize = 128 << 10;

/// Does work; where it is long, the tasks that wait for this thread go on on another one meanwhile.
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
