//! What the proxy does, and what it knows of its connections.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::conversation::Reply;

/// How long the proxy may take to do as it is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the proxy does to all connections, those it has and new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything on.
    None,
    /// Passes everything on, that much later each way.
    Delay(Duration),
    /// Holds everything back, new connections too, and passes it on when the fault is over: a
    /// network that is down for a while.
    Stall,
    /// Takes everything and passes nothing on, not even that a side has closed. A connection that
    /// lost something so never recovers.
    BlackHole,
    /// Refuses new connections; those it has go on.
    Refuse,
    /// Cuts each connection once that many more bytes have gone that way.
    CutAfter(Way, u64),
    /// Cuts a connection when the server has sent that reply, and keeps it from the client. For
    /// proxies in front of PostgreSQL.
    CutBefore(Reply, Which),
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

/// One end of the proxy's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those who connected to the proxy.
    Client,
    /// Those the proxy connected to.
    Server,
}

/// Which of the replies that match are lost, over all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The next one only.
    Next,
    /// The n-th, 2n-th, 3n-th …
    Every(u64),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) server: SocketAddr,
    pub(super) speaks_postgres: bool,
    pub(super) setting: watch::Sender<Setting>,
    pub(super) orders: broadcast::Sender<Order>,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

/// A fault, and which it is in the order of all that were set.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) number: u64,
    pub(super) fault: Fault,
}

/// What is done at once to all connections there are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Cut,
    Close(Side),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) is_listening: bool,
    pub(super) accepted: u64,
    /// Connections that pass something on, or would.
    pub(super) open: BTreeSet<u64>,
    /// Replies that matched since the fault was set.
    pub(super) matched: u64,
    /// Connections that a fault cut.
    pub(super) cuts: u64,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    pub(super) fn wait_until(&self, mut holds: impl FnMut(&State) -> bool) {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), PATIENCE, |state| !holds(state));
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        assert!(!waited.timed_out(), "the proxy does not do as it is told");
    }

    /// A reply has matched: whether to cut the connection.
    pub(super) fn loses_match(&self, which: Which) -> bool {
        let mut state = self.state();
        state.matched += 1;
        match which {
            Which::Next => state.matched == 1,
            Which::Every(n) => state.matched.is_multiple_of(n),
        }
    }
}
