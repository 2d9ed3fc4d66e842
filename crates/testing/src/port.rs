//! Ports for servers that go away and come back.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below the ports that systems give to clients (from 32768 on Linux): a client that tries a stopped
/// server again and again would in the end be given the server's own port, connect to itself and
/// keep the server from coming back.
const PORTS: Range<u16> = 15_000..32_000;

/// A loopback port that is free now, and that no client takes while its server is down.
///
/// # Panics
/// When none is free.
pub(crate) fn stable() -> u16 {
    let width = u64::from(PORTS.end - PORTS.start);
    for _ in 0..100 {
        // Each `RandomState` has keys of its own.
        let random = RandomState::new().build_hasher().finish() % width;
        let port = PORTS.start + u16::try_from(random).expect("it is below the width");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no loopback port in {PORTS:?} is free");
}
