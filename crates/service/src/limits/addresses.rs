//! Requests without a valid API key, by the address they come from.
//!
//! The table has a fixed size. A client belongs to one of its sets, and a random hash decides
//! which, so that clients cannot choose. Where a set is full, the client leaves whose bucket is the
//! fullest.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use engine::host::Host;

use super::limit::{Exceeded, Limit};
use super::rate::{TokenBucket, Window};

const SETS: usize = 8_192;
const PLACES: usize = 8;

/// Who is counted as one client: an IPv4 address, or an IPv6 network of 64 bits, which is the least
/// that one subscriber gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Client(u64);

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            // In the range of multicast networks, from which no request comes.
            IpAddr::V4(address) => Self(0xffff_0000_0000_0000 | u64::from(address.to_bits())),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Self(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    client: Client,
    bucket: TokenBucket,
}

type Set = [Counted; PLACES];

/// The table of clients.
#[derive(Debug)]
pub struct Addresses {
    most: NonZeroU32,
    host: Arc<dyn Host>,
    sets: Box<[Mutex<Set>]>,
    hashing: RandomState,
}

impl Addresses {
    /// With a limit of requests per minute for each client.
    pub fn new(most: NonZeroU32, host: Arc<dyn Host>) -> Self {
        Self {
            most,
            host,
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            hashing: RandomState::new(),
        }
    }

    /// Counts a request.
    pub fn request(&self, client: Client) -> Result<Window, Exceeded> {
        let now = self.host.elapsed();
        let set = self.set_of(client);
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let known = set.iter().position(|counted| counted.client == client);
        let place = known.unwrap_or_else(|| forget_one(&mut set, client));
        let taken = set[place].bucket.take(self.most, now);
        taken.map_err(|retry_after| Exceeded {
            limit: Limit::Address,
            most: self.most.get().into(),
            retry_after,
            renews: None,
        })
    }

    fn set_of(&self, client: Client) -> &Mutex<Set> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of it will do")]
        let hash = self.hashing.hash_one(client) as usize;
        &self.sets[hash % SETS]
    }
}

/// Gives the client the entry of the one whose bucket is the fullest.
fn forget_one(set: &mut Set, client: Client) -> usize {
    let oldest = (1..PLACES).fold(0, |oldest, place| {
        if set[place].bucket < set[oldest].bucket {
            place
        } else {
            oldest
        }
    });
    set[oldest] = Counted {
        client,
        bucket: TokenBucket::default(),
    };
    oldest
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test_clock::TestClock;

    fn client(text: &str) -> Client {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn table(most: u32) -> (Addresses, Arc<TestClock>) {
        let clock = Arc::new(TestClock::default());
        let most = NonZeroU32::new(most).unwrap();
        (Addresses::new(most, clock.clone()), clock)
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_an_ipv4_address_is() {
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("0.0.0.1"), client("::1"));
    }

    #[test]
    fn each_client_is_counted_by_itself() {
        let (table, clock) = table(2);
        let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(table.request(one).unwrap().left, 1);
        assert_eq!(table.request(one).unwrap().left, 0);
        let refused = table.request(one).unwrap_err();
        assert_eq!((refused.limit, refused.most), (Limit::Address, 2));
        assert_eq!(refused.retry_after, Duration::from_secs(30));
        assert!(table.request(other).is_ok());
        clock.set(30);
        assert!(table.request(one).is_ok() && table.request(one).is_err());
    }

    /// Whoever has many networks cannot make the table grow, and one that asks more than it may is
    /// not forgotten for those that ask once.
    #[test]
    fn a_full_table_forgets_those_who_asked_least() {
        let (table, _clock) = table(60);
        let greedy = client("192.0.2.1");
        while table.request(greedy).is_ok() {}
        for network in 0..500_000_u64 {
            assert!(table.request(Client(network + 1)).is_ok());
        }
        assert!(table.request(greedy).is_err());
    }
}
