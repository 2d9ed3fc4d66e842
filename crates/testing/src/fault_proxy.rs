//! A TCP proxy on loopback that fails as networks do, when a test tells it to.
//!
//! It knows the messages of PostgreSQL, so that it can lose exactly the answer to a commit: the
//! server has done the work, and the client cannot know.

mod connection;
mod conversation;
mod setting;

use std::collections::BTreeSet;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{broadcast, oneshot, watch};

pub use self::conversation::Reply;
pub use self::setting::{Fault, Side, Way, Which};
use self::setting::{Order, Setting, Shared, State};
use crate::port;

/// A running proxy; stops on drop, and cuts its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// In front of any server; passes everything on.
    ///
    /// # Panics
    /// When no port is free.
    pub fn in_front_of(server: SocketAddr) -> Self {
        Self::start(server, false)
    }

    /// In front of a PostgreSQL server. Connections that turn to TLS are passed on as they are.
    ///
    /// # Panics
    /// When no port is free.
    pub fn in_front_of_postgres(server: SocketAddr) -> Self {
        Self::start(server, true)
    }

    fn start(server: SocketAddr, speaks_postgres: bool) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::stable()));
        let shared = Arc::new(Shared {
            server,
            speaks_postgres,
            setting: watch::Sender::new(Setting {
                number: 0,
                fault: Fault::None,
            }),
            orders: broadcast::Sender::new(64),
            state: Mutex::new(State {
                is_listening: false,
                accepted: 0,
                open: BTreeSet::new(),
                matched: 0,
                cuts: 0,
            }),
            changed: Condvar::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let accepting = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            // Leaving `block_on` drops the runtime, and with it the connections.
            runtime.expect("a runtime").block_on(async move {
                tokio::select! {
                    () = accept(accepting, address) => {}
                    _ = stopped => {}
                }
            });
        });
        let proxy = Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        };
        proxy.shared.wait_until(|state| state.is_listening);
        proxy
    }

    /// Where it listens, for good.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on that happens to all connections.
    ///
    /// # Panics
    /// When a cut before a reply is asked of a proxy that is not in front of PostgreSQL.
    pub fn set(&self, fault: Fault) {
        assert!(
            self.shared.speaks_postgres || !matches!(fault, Fault::CutBefore(..)),
            "only the replies of PostgreSQL are known"
        );
        let listens = fault != Fault::Refuse;
        self.shared.state().matched = 0;
        self.shared.setting.send_modify(|setting| {
            setting.number += 1;
            setting.fault = fault;
        });
        self.shared
            .wait_until(|state| state.is_listening == listens);
    }

    /// Cuts all connections there are, both sides.
    pub fn cut_all(&self) {
        self.order(Order::Cut);
    }

    /// Closes that side of all connections there are; the other is kept open, and hears nothing.
    pub fn half_close(&self, side: Side) {
        self.order(Order::Close(side));
    }

    fn order(&self, order: Order) {
        let open = self.shared.state().open.clone();
        // Nobody may be connected.
        let _ = self.shared.orders.send(order);
        self.shared
            .wait_until(|state| open.is_disjoint(&state.open));
    }

    /// Connections that pass something on, or would but for the present fault.
    pub fn open(&self) -> usize {
        self.shared.state().open.len()
    }

    /// Connections ever accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.state().accepted
    }

    /// Connections that [`Fault::CutAfter`] and [`Fault::CutBefore`] have cut.
    pub fn cuts(&self) -> u64 {
        self.shared.state().cuts
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the proxy does not panic");
            }
        }
    }
}

/// Accepts connections, and listens or does not, as the fault wants.
async fn accept(shared: Arc<Shared>, address: SocketAddr) {
    let mut settings = shared.setting.subscribe();
    let mut listener = None;
    loop {
        let listens = settings.borrow_and_update().fault != Fault::Refuse;
        if listens && listener.is_none() {
            let bound = TcpListener::bind(address).await;
            listener = Some(bound.expect("the proxy's port is its own"));
        } else if !listens {
            listener = None;
        }
        shared.change(|state| state.is_listening = listens);
        tokio::select! {
            client = next_client(listener.as_ref()) => {
                let orders = shared.orders.subscribe();
                let mut number = 0;
                shared.change(|state| {
                    state.accepted += 1;
                    number = state.accepted;
                    state.open.insert(number);
                });
                // Ends with its connection or with the runtime.
                tokio::spawn(connection::serve(client, number, orders, shared.clone()));
            }
            changed = settings.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

async fn next_client(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return pending().await;
    };
    loop {
        // A client that left before it was accepted is none.
        if let Ok((client, _)) = listener.accept().await {
            return client;
        }
    }
}

#[cfg(test)]
mod tests;
