//! Limits the number of open connections, in total and per client. A connection beyond the limit is
//! closed at once, before anything is read from it. As the total comes near its limit, each new
//! connection has idle ones closed, so that idle clients keep nobody out. A connection counts until
//! its socket is closed.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown};
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use service::limits::Client;
use telemetry::metrics::Metrics;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::refusal::{ProblemAnswer, RETRY_AFTER_SECONDS, Refusal};
use crate::socket::ConnectionActivity;

/// Connections that are looked at, each time, to find an idle one.
const LOOKED_AT: usize = 256;

/// A connection younger than this is not idle: its first request may be on its way.
const GRACE: Duration = Duration::from_secs(1);

/// The open connections, and how many there may be.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    max: usize,
    /// From this number on, each new connection has idle ones closed.
    nearly_full: usize,
    max_per_client: Option<usize>,
    counts: Mutex<Counts>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Open sockets, including those that were asked to close.
    all: usize,
    /// Empty unless connections per client are limited.
    by_client: HashMap<Client, usize>,
    /// Connections that were not asked to close, oldest first.
    open: BTreeMap<u64, OpenConnection>,
    next: u64,
    /// Where the next search for an idle connection begins.
    next_looked_at: u64,
}

/// What is known about a connection, and the way to close it.
#[derive(Debug, Clone)]
struct OpenConnection {
    /// When it was accepted, by the host's clock.
    since: Duration,
    activity: ConnectionActivity,
    leave: CancellationToken,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Of all connections.
    Total,
    /// Of the connections of one client.
    Address,
}

impl Full {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
        }
    }
}

/// A connection's part of the limit. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    limit: Arc<ConnectionLimit>,
    client: Option<Client>,
    number: u64,
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    pub(crate) activity: ConnectionActivity,
    /// Asks the connection to close once its current request is answered: at shutdown, or to make
    /// room.
    pub(crate) leave: CancellationToken,
}

impl ConnectionLimit {
    pub(crate) fn new(
        max: Option<NonZeroUsize>,
        max_per_address: Option<NonZeroUsize>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let max = max.map_or(usize::MAX, NonZeroUsize::get);
        Arc::new(Self {
            max,
            nearly_full: max - max / 16,
            max_per_client: max_per_address.map(NonZeroUsize::get),
            counts: Mutex::default(),
            metrics,
        })
    }

    /// Takes a slot for a connection from `peer` that was accepted at `now`. `shutdown` asks it to
    /// close.
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        now: Duration,
        shutdown: &CancellationToken,
    ) -> Result<ConnectionSlot, Full> {
        let mut counts = self.counts();
        if counts.open.len() >= self.nearly_full {
            // Two for one, so that the number goes down.
            for idle in [counts.take_idle(now), counts.take_idle(now)]
                .into_iter()
                .flatten()
            {
                idle.leave.cancel();
                self.metrics.connection_refused("idle");
            }
        }
        if counts.all >= self.max {
            return Err(Full::Total);
        }
        let client = self.max_per_client.map(|_| Client::from(peer));
        if let (Some(most), Some(client)) = (self.max_per_client, client) {
            let open = counts.by_client.entry(client).or_default();
            if *open >= most {
                return Err(Full::Address);
            }
            *open += 1;
        }
        counts.all += 1;
        let number = counts.next;
        counts.next += 1;
        let connection = OpenConnection {
            since: now,
            activity: ConnectionActivity::default(),
            leave: shutdown.child_token(),
        };
        counts.open.insert(number, connection.clone());
        drop(counts);
        self.metrics.connections_changed(1);
        Ok(ConnectionSlot {
            limit: Arc::clone(self),
            client,
            number,
            peer,
            activity: connection.activity,
            leave: connection.leave,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Takes an idle connection off the list. The search begins behind the one that was looked at
    /// last.
    fn take_idle(&mut self, now: Duration) -> Option<OpenConnection> {
        let looked_at = self
            .open
            .range(self.next_looked_at..)
            .chain(self.open.range(..self.next_looked_at))
            .take(LOOKED_AT);
        let mut found = None;
        for (number, connection) in looked_at {
            self.next_looked_at = number + 1;
            if !connection.activity.is_busy() && now.saturating_sub(connection.since) >= GRACE {
                found = Some(*number);
                break;
            }
        }
        self.open.remove(&found?)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.limit.counts();
        counts.open.remove(&self.number);
        counts.all -= 1;
        if let Some(client) = self.client
            && let Some(open) = counts.by_client.get_mut(&client)
        {
            *open -= 1;
            if *open == 0 {
                counts.by_client.remove(&client);
            }
        }
        drop(counts);
        self.limit.metrics.connections_changed(-1);
    }
}

/// Closes a connection beyond the limit, with a 503 if that can be written without waiting. Over
/// TLS there is no answer: the handshake would have to come first.
pub(crate) fn reject(stream: TcpStream, is_tls: bool) {
    let Ok(mut stream) = stream.into_std() else {
        return;
    };
    if is_tls {
        return;
    }
    // Closing with unread bytes resets the connection, and the client loses the answer. The socket
    // does not block.
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write(&BUSY);
    let _ = stream.shutdown(Shutdown::Write);
}

static BUSY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let detail = "This server has reached its limit of connections; try again a little later.";
    let problem = ProblemAnswer::unavailable("too_many_connections", detail);
    let body = Refusal::from(problem).document(|| "/".to_owned());
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         retry-after: {RETRY_AFTER_SECONDS}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    answer
});

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(max: usize, max_per_address: Option<usize>) -> Arc<ConnectionLimit> {
        ConnectionLimit::new(
            NonZeroUsize::new(max),
            max_per_address.and_then(NonZeroUsize::new),
            Arc::new(Metrics::new()),
        )
    }

    fn admit(limit: &Arc<ConnectionLimit>, address: &str) -> Result<ConnectionSlot, Full> {
        admit_at(limit, 0, address)
    }

    fn admit_at(
        limit: &Arc<ConnectionLimit>,
        second: u64,
        address: &str,
    ) -> Result<ConnectionSlot, Full> {
        let now = Duration::from_secs(second);
        limit.admit(from(address), now, &CancellationToken::new())
    }

    fn from(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn a_place_that_is_given_back_is_free_again() {
        let limit = limit(2, None);
        let first = admit(&limit, "10.0.0.1").expect("room");
        let _second = admit(&limit, "10.0.0.1").expect("room");
        assert_eq!(admit(&limit, "10.0.0.2").unwrap_err(), Full::Total);
        drop(first);
        assert!(admit(&limit, "10.0.0.2").is_ok());
    }

    #[test]
    fn who_sits_idle_makes_room_and_who_is_served_does_not() {
        let limit = limit(32, None);
        let slots: Vec<ConnectionSlot> = (0..30)
            .map(|_| admit(&limit, "10.0.0.1").expect("room"))
            .collect();
        assert!(slots.iter().all(|slot| !slot.leave.is_cancelled()));
        let _request = slots[0].activity.begin();
        let _first = admit_at(&limit, 1, "10.0.0.2").expect("room");
        let _second = admit_at(&limit, 1, "10.0.0.2").expect("room");
        let asked: Vec<usize> = (0..30)
            .filter(|&number| slots[number].leave.is_cancelled())
            .collect();
        assert_eq!(asked, [1, 2]);
        // Whoever is on the way out counts until gone.
        assert_eq!(limit.counts().all, 32);
        drop(slots);
        let counts = limit.counts();
        assert_eq!((counts.all, counts.open.len()), (2, 2));
    }

    #[test]
    fn connections_asked_to_leave_count_until_they_are_closed() {
        let limit = limit(100, None);
        let mut open = Vec::new();
        for second in 0..1_000 {
            open.extend(admit_at(&limit, second, "10.0.0.1").ok());
        }
        assert_eq!(open.len(), 100, "none of them has gone");
        open.retain(|slot| !slot.leave.is_cancelled());
        assert!(!open.is_empty() && open.len() < 100);
        assert!(admit_at(&limit, 1_000, "10.0.0.1").is_ok());
    }

    #[test]
    fn who_has_only_just_come_need_not_make_room() {
        let limit = limit(32, None);
        let mut slots: Vec<ConnectionSlot> = (0..32)
            .map(|_| admit(&limit, "10.0.0.1").expect("room"))
            .collect();
        assert!(slots.iter().all(|slot| !slot.leave.is_cancelled()));
        assert_eq!(admit(&limit, "10.0.0.2").unwrap_err(), Full::Total);
        // A second later they have to, and when they are gone there is room.
        assert_eq!(admit_at(&limit, 1, "10.0.0.2").unwrap_err(), Full::Total);
        slots.retain(|slot| !slot.leave.is_cancelled());
        assert_eq!(slots.len(), 30);
        assert!(admit_at(&limit, 1, "10.0.0.2").is_ok());
    }

    #[test]
    fn an_address_has_its_own_bound_and_is_forgotten_when_it_is_gone() {
        let limit = limit(10, Some(1));
        let one = admit(&limit, "10.0.0.1").expect("room");
        assert_eq!(admit(&limit, "10.0.0.1").unwrap_err(), Full::Address);
        assert_eq!(admit(&limit, "::ffff:10.0.0.1").unwrap_err(), Full::Address);
        let other = admit(&limit, "10.0.0.2").expect("another address");
        assert_eq!(limit.counts().by_client.len(), 2);
        drop((one, other));
        assert_eq!(limit.counts().by_client.len(), 0);
    }

    #[test]
    fn ipv6_is_counted_by_network() {
        let limit = limit(10, Some(1));
        let _one = admit(&limit, "2001:db8::1").expect("room");
        assert_eq!(admit(&limit, "2001:db8::2").unwrap_err(), Full::Address);
        assert!(admit(&limit, "2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn what_is_said_to_those_beyond_is_a_whole_answer() {
        let text = String::from_utf8(BUSY.clone()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(problem["code"], "too_many_connections");
    }
}
