//! What a server prints at its start: its address, its models, its job store, and an example
//! request that works as it is.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use deploy::shell;
use lang::visible;
use service::catalog::LoadedWorkflow;

use crate::config::serve::Settings;
use crate::config::store::Store;
use crate::sample;
use crate::workflow_file::many;

/// The whole text. The first URL in it is that of the server.
pub(super) async fn banner(
    address: SocketAddr,
    notices: &[String],
    workflows: &[Arc<LoadedWorkflow>],
    settings: &Settings,
    replica_name: &str,
    wants_keys: bool,
) -> String {
    let scheme = match settings.exposure.tls {
        Some(_) => "https",
        None => "http",
    };
    let url = format!("{scheme}://{}", reachable(address));
    let mut text = match workflows {
        [only] => format!(
            "flowmill {} serves `{}` at {url}\n",
            env!("CARGO_PKG_VERSION"),
            only.name
        ),
        several => format!(
            "flowmill {} serves {} at {url}\n",
            env!("CARGO_PKG_VERSION"),
            many(several.len(), "workflow")
        ),
    };
    for notice in notices {
        let _ = writeln!(text, "{notice}");
    }
    let _ = match &settings.store {
        Store::Memory => writeln!(
            text,
            "jobs are kept in memory and lost when the process ends"
        ),
        Store::Sqlite(path) => writeln!(text, "jobs are kept in {}", path.display()),
        Store::Postgres(url) => writeln!(
            text,
            "jobs are kept in {url}; this replica is {}",
            visible::escaped(replica_name)
        ),
    };
    if wants_keys {
        text.push_str("requests need an API key; the example takes it from $FLOWMILL_API_KEY\n");
    }
    if settings.watch {
        text.push_str("watching for changes\n");
    }
    let docs = match workflows {
        [_] => format!("{url}/docs"),
        _ => format!("{url}/workflows"),
    };
    let _ = write!(text, "  try it     {url}/\n  reference  {docs}\n");
    for workflow in workflows {
        let path = match workflows {
            [_] => "/run".to_owned(),
            _ => format!("/workflows/{}/run", path_segment(&workflow.name)),
        };
        let body = shell::word(&sample::of(&workflow.input_schema).await.to_string());
        let _ = write!(
            text,
            "\n  curl -X POST {}{} -H 'content-type: application/json' -d {body}",
            shell::word(&format!("{url}{path}")),
            // Not the key itself: this text may end up in a log.
            if wants_keys {
                " -H \"authorization: Bearer $FLOWMILL_API_KEY\""
            } else {
                ""
            }
        );
    }
    text.push('\n');
    text
}

/// An address that a client on this machine can use: the wildcard address itself cannot be
/// connected to everywhere.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// A workflow's name as a path segment.
fn path_segment(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(byte.into());
        } else {
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wildcard_is_shown_as_an_address_one_can_use() {
        let check = |listening: &str, shown: &str| {
            assert_eq!(
                reachable(listening.parse().expect("an address")).to_string(),
                shown
            );
        };
        check("0.0.0.0:80", "127.0.0.1:80");
        check("[::]:80", "[::1]:80");
        check("10.0.0.7:80", "10.0.0.7:80");
    }

    #[test]
    fn names_are_escaped_in_paths() {
        assert_eq!(path_segment("my flow/ü"), "my%20flow%2F%C3%BC");
    }
}
