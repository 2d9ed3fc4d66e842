//! How many connections may be open: in all, and from one address. Who is beyond is turned away at once, before
//! anything of theirs is read.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown};
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use telemetry::metrics::Metrics;
use tokio::net::TcpStream;

use crate::refusal::{Refusal, Trouble};

/// The connections that are open.
#[derive(Debug)]
pub(crate) struct Crowd {
    max: usize,
    max_per_address: Option<usize>,
    counts: Mutex<Counts>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Kept only where an address has a bound.
    by_address: HashMap<IpAddr, usize>,
}

/// Which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Over all.
    Total,
    /// Of one address.
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

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    address: Option<IpAddr>,
}

impl Crowd {
    pub(crate) fn new(
        max: Option<NonZeroUsize>,
        max_per_address: Option<NonZeroUsize>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            max: max.map_or(usize::MAX, NonZeroUsize::get),
            max_per_address: max_per_address.map(NonZeroUsize::get),
            counts: Mutex::default(),
            metrics,
        })
    }

    /// A place for a connection from that address, or which bound is in the way.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Full> {
        let mut counts = self.counts();
        if counts.all >= self.max {
            return Err(Full::Total);
        }
        let address = self.max_per_address.map(|_| household(peer));
        if let (Some(most), Some(address)) = (self.max_per_address, address) {
            let open = counts.by_address.entry(address).or_default();
            if *open >= most {
                return Err(Full::Address);
            }
            *open += 1;
        }
        counts.all += 1;
        drop(counts);
        self.metrics.connections_changed(1);
        Ok(Place {
            crowd: Arc::clone(self),
            address,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts();
        counts.all -= 1;
        if let Some(address) = self.address
            && let Some(open) = counts.by_address.get_mut(&address)
        {
            *open -= 1;
            if *open == 0 {
                counts.by_address.remove(&address);
            }
        }
        drop(counts);
        self.crowd.metrics.connections_changed(-1);
    }
}

/// What counts as one address: of IPv6 a /64, which is the least that one customer has.
fn household(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}

/// Says 503, if that takes no waiting, and hangs up. Where TLS is spoken nothing can be said so early.
pub(crate) fn turn_away(stream: TcpStream, is_tls: bool) {
    let Ok(mut stream) = stream.into_std() else {
        return;
    };
    if is_tls {
        return;
    }
    // Closing with unread bytes resets the connection, and takes the answer along. The socket does not block.
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write(&BUSY);
    let _ = stream.shutdown(Shutdown::Write);
}

static BUSY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let detail = "This server has as many connections as it takes; try again a little later.";
    let trouble = Trouble::unavailable("too_many_connections", detail, RETRY_SECONDS);
    let body = Refusal::from(trouble).document(|| "/".to_owned());
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         retry-after: {RETRY_SECONDS}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    answer
});

const RETRY_SECONDS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(max: usize, max_per_address: Option<usize>) -> Arc<Crowd> {
        Crowd::new(
            NonZeroUsize::new(max),
            max_per_address.and_then(NonZeroUsize::new),
            Arc::new(Metrics::new()),
        )
    }

    fn from(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn a_place_that_is_given_back_is_free_again() {
        let crowd = crowd(2, None);
        let first = crowd.admit(from("10.0.0.1")).expect("room");
        let _second = crowd.admit(from("10.0.0.1")).expect("room");
        assert_eq!(crowd.admit(from("10.0.0.2")).unwrap_err(), Full::Total);
        drop(first);
        assert!(crowd.admit(from("10.0.0.2")).is_ok());
    }

    #[test]
    fn an_address_has_its_own_bound_and_is_forgotten_when_it_is_gone() {
        let crowd = crowd(10, Some(1));
        let one = crowd.admit(from("10.0.0.1")).expect("room");
        assert_eq!(crowd.admit(from("10.0.0.1")).unwrap_err(), Full::Address);
        assert_eq!(
            crowd.admit(from("::ffff:10.0.0.1")).unwrap_err(),
            Full::Address
        );
        let other = crowd.admit(from("10.0.0.2")).expect("another address");
        assert_eq!(crowd.counts().by_address.len(), 2);
        drop((one, other));
        assert_eq!(crowd.counts().by_address.len(), 0);
    }

    #[test]
    fn ipv6_is_counted_by_network() {
        let crowd = crowd(10, Some(1));
        let _one = crowd.admit(from("2001:db8::1")).expect("room");
        assert_eq!(crowd.admit(from("2001:db8::2")).unwrap_err(), Full::Address);
        assert!(crowd.admit(from("2001:db8:0:1::1")).is_ok());
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
