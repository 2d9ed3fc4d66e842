//! The address of the client: the other end of the connection, or whoever a trusted proxy forwards
//! for.
//!
//! Anyone can write the headers that say so; they are believed only if the other end is a proxy
//! that the operator trusts. Each proxy appends the address that it got the request from. So the
//! list is read from its end, past trusted proxies, to the first address that is not one.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;

pub(crate) const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The client's address; `None` if the connection's is not known.
pub(crate) fn address(request: &Request, trusted: &[IpNet]) -> Option<IpAddr> {
    let Peer(peer) = request.extensions().get::<Peer>()?;
    Some(behind(*peer, request.headers(), trusted))
}

/// The client of a request that `peer` sent. A proxy writes one of the two headers, and may pass
/// the other on as a client sent it. If both are there and differ, neither is believed, and the
/// proxy counts as the client.
pub(crate) fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let has = |name| headers.contains_key(name);
    let plain = || rightmost(peer, hops(headers, X_FORWARDED_FOR), trusted, address_of);
    let standard = || {
        rightmost(
            peer,
            hops(headers, header::FORWARDED.as_str()),
            trusted,
            forwarded_for,
        )
    };
    match (has(X_FORWARDED_FOR), has(header::FORWARDED.as_str())) {
        (false, false) => peer,
        (true, false) => plain(),
        (false, true) => standard(),
        (true, true) => {
            let (plain, standard) = (plain(), standard());
            if plain == standard { plain } else { peer }
        }
    }
}

pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The elements of a list header, last one first. A value that is not text becomes an element
/// without an address.
fn hops<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    let text = |value: &'a axum::http::HeaderValue| value.to_str().unwrap_or("?");
    values
        .into_iter()
        .rev()
        .flat_map(move |value| text(value).rsplit(','))
}

/// The first address that is not a trusted proxy. An element without an address ends the search:
/// the proxy that wrote it counts then.
fn rightmost<'a>(
    peer: IpAddr,
    hops: impl Iterator<Item = &'a str>,
    trusted: &[IpNet],
    read: impl Fn(&str) -> Option<IpAddr>,
) -> IpAddr {
    let mut last = peer;
    for hop in hops {
        #[cfg(test)]
        testing::work::count(1 + hop.len());
        let Some(address) = read(hop.trim()) else {
            break;
        };
        last = address.to_canonical();
        if !is_trusted(last, trusted) {
            break;
        }
    }
    last
}

/// `192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:5000`.
fn address_of(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let bare = text.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse().ok()
}

/// `for=` of one element of `Forwarded`, such as `for="[2001:db8::1]:5000";proto=https`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    let unquoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let value = unquoted.map_or(Cow::Borrowed(value), |text| text.replace('\\', "").into());
    address_of(&value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    #[track_caller]
    fn check(peer: &str, headers: &[(&'static str, &str)], expected: &str) {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            map.append(HeaderName::from_static(name), value);
        }
        let found = behind(peer.parse().unwrap(), &map, &trusted);
        assert_eq!(
            found,
            expected.parse::<IpAddr>().unwrap(),
            "{peer} {headers:?}"
        );
    }

    const PLAIN: &str = "x-forwarded-for";
    const STANDARD: &str = "forwarded";

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        check("192.0.2.1", &[(PLAIN, "198.51.100.7")], "192.0.2.1");
        check("192.0.2.1", &[(STANDARD, "for=198.51.100.7")], "192.0.2.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[(PLAIN, "198.51.100.7")], "198.51.100.7");
        check(
            "::ffff:10.0.0.1",
            &[(PLAIN, "198.51.100.7")],
            "198.51.100.7",
        );
        check("fd00::1", &[(PLAIN, "2001:db8::1")], "2001:db8::1");
    }

    #[test]
    fn what_the_client_wrote_itself_is_passed_over() {
        check(
            "10.0.0.1",
            &[(PLAIN, "1.1.1.1, 198.51.100.7")],
            "198.51.100.7",
        );
        check(
            "10.0.0.1",
            &[(PLAIN, "1.1.1.1,198.51.100.7, 10.0.0.9")],
            "198.51.100.7",
        );
        check(
            "10.0.0.1",
            &[(PLAIN, "1.1.1.1"), (PLAIN, "198.51.100.7")],
            "198.51.100.7",
        );
        // All of them are trusted: the one furthest away.
        check("10.0.0.1", &[(PLAIN, "10.0.0.3, 10.0.0.2")], "10.0.0.3");
    }

    #[test]
    fn an_element_that_names_nobody_ends_the_search() {
        check("10.0.0.1", &[(PLAIN, "1.1.1.1, unknown")], "10.0.0.1");
        check(
            "10.0.0.1",
            &[(PLAIN, "1.1.1.1, unknown, 10.0.0.2")],
            "10.0.0.2",
        );
        check("10.0.0.1", &[(PLAIN, "")], "10.0.0.1");
        check("10.0.0.1", &[(PLAIN, "1.1.1.1, \u{e9}")], "10.0.0.1");
        check(
            "10.0.0.1",
            &[(STANDARD, "for=1.1.1.1, for=_hidden")],
            "10.0.0.1",
        );
        check("10.0.0.1", &[(STANDARD, "proto=https")], "10.0.0.1");
    }

    #[test]
    fn addresses_may_have_ports_and_brackets() {
        for text in ["[2001:db8::1]", "[2001:db8::1]:5000", "2001:db8::1"] {
            check("10.0.0.1", &[(PLAIN, text)], "2001:db8::1");
            let standard = format!("for=1.1.1.1;by=10.0.0.1, For=\"{text}\" ;proto=https");
            check("10.0.0.1", &[(STANDARD, &standard)], "2001:db8::1");
        }
        check("10.0.0.1", &[(PLAIN, "198.51.100.7:5000")], "198.51.100.7");
        check(
            "10.0.0.1",
            &[(STANDARD, "for=198.51.100.7:5000")],
            "198.51.100.7",
        );
    }

    /// A proxy that writes one of the headers may pass on the other as it was sent.
    #[test]
    fn two_headers_that_differ_are_no_evidence() {
        check(
            "10.0.0.1",
            &[(PLAIN, "1.1.1.1"), (STANDARD, "for=198.51.100.7")],
            "10.0.0.1",
        );
        check(
            "10.0.0.1",
            &[(PLAIN, "198.51.100.7"), (STANDARD, "for=198.51.100.7")],
            "198.51.100.7",
        );
    }
}
