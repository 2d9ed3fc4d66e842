//! A server on a thread and a runtime of its own: it goes on while a test blocks, or has paused its
//! clock.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use axum::Router;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A running server; stops on drop, and with it the connections still open.
#[derive(Debug)]
pub(crate) struct Serving {
    address: SocketAddr,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// At that address; port 0 is a free one.
    ///
    /// # Panics
    /// When it cannot be had.
    pub(crate) fn start(address: SocketAddr, router: Router) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        listener
            .set_nonblocking(true)
            .expect("a socket can be made non-blocking");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            // Leaving `block_on` drops the runtime, and with it the connections still open.
            runtime.block_on(async move {
                let listener =
                    tokio::net::TcpListener::from_std(listener).expect("a non-blocking socket");
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served.expect("axum::serve never fails"),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's, whose clock always goes.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("a server of a test does not panic");
            }
        }
    }
}
