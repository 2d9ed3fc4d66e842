//! Addresses and names as people write them: of this server, of pages that call it, of networks.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use server::{AllowedHost, Origin, RootPath};

/// Reads a port.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    if text.contains("://") {
        return Err(format!(
            "`{text}` is not a port: Kubernetes sets such a link for a Service of that name; set \
             `enableServiceLinks: false` in the pod's spec, or give the port with --port"
        ));
    }
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is not a port; write a number from 0 to 65535"))
}

/// An IP address, or `localhost` for the loopback one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Host(pub IpAddr);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self(Ipv4Addr::LOCALHOST.into()));
        }
        // `[::1]`, as in a URL, means the same as `::1`.
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        bare.parse().map(Self).map_err(|_| {
            format!("`{text}` is not an IP address; write one such as 127.0.0.1 or 0.0.0.0")
        })
    }
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// An origin whose web pages may call the API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct CorsOrigin(pub Origin);

impl FromStr for CorsOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for CorsOrigin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A host name that this server answers to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct HostName(pub AllowedHost);

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for HostName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The path below which a proxy publishes this server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ProxyPath(pub RootPath);

impl FromStr for ProxyPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for ProxyPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Networks and addresses, separated by commas or spaces.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Networks(pub Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(|character: char| character.is_whitespace() || character == ',')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let address = || part.parse::<IpAddr>().map(IpNet::from);
                part.parse().or_else(|_| address()).map_err(|_| {
                    format!("`{part}` is not a network; write one such as 10.0.0.0/8 or 192.0.2.7")
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read() {
        let check = |text: &str, expected: Option<usize>| {
            let read = text.parse::<Networks>().ok();
            assert_eq!(read.map(|Networks(all)| all.len()), expected, "{text}");
        };
        check("10.0.0.0/8, 192.0.2.7 fd00::/8", Some(3));
        check("", Some(0));
        check("proxy.internal", None);
        check("10.0.0.0/33", None);
    }
}
