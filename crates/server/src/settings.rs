//! Times and limits of the HTTP side.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use ipnet::IpNet;
use lang::json::Bounds;

use crate::allowed_hosts::AllowedHosts;
use crate::origins::Origins;
use crate::root_path::RootPath;
use crate::tls::Tls;

/// Times and limits of the HTTP side.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long `POST /run` waits for the end of its run when the client names no time of its own.
    pub sync_timeout: Duration,
    /// The longest wait a client may ask for with `Prefer: wait=N`.
    pub max_wait: Duration,
    /// The largest request body taken, in bytes.
    pub max_body_bytes: usize,
    /// The longest time a request body may take to arrive.
    pub body_timeout: Duration,
    /// The most JSON values in a request body: strings, numbers, lists, objects and so on.
    pub max_body_values: usize,
    /// The longest string in a request body, in bytes as written in the JSON.
    pub max_text_bytes: usize,
    /// The longest time that the head of a request may take to arrive, from its first byte; and a
    /// TLS handshake.
    pub head_timeout: Duration,
    /// An idle connection is closed after this time.
    pub idle_timeout: Duration,
    /// A client that reads nothing of its answer for this long is disconnected.
    pub write_timeout: Duration,
    /// Memory for answers larger than 64 KiB that are being sent at the same time, in bytes.
    pub max_answer_bytes: usize,
    /// The most open connections; `None`: no limit.
    pub max_connections: Option<NonZeroUsize>,
    /// The most open connections per client: an IPv4 address or an IPv6 /64 network. `None`: no
    /// limit.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// TLS instead of plain HTTP.
    pub tls: Option<Tls>,
    /// The origins whose web pages may call the API from a browser.
    pub origins: Origins,
    /// The path below which a proxy shows this server to clients.
    pub root_path: RootPath,
    /// The names, besides `localhost`, that `Host` may have; `None`: any.
    pub allowed_hosts: Option<AllowedHosts>,
    /// The interval of comment lines in event streams. They keep proxies from closing an idle
    /// stream.
    pub comment_every: Duration,
    /// Networks of proxies whose `Forwarded` and `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests per minute allowed per client without a valid API key; `None`: no limit.
    pub address_requests_per_minute: Option<NonZeroU32>,
    /// How long answers in flight may take after `shutdown`. Then their connections are cut.
    pub close_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync_timeout: Duration::from_secs(30),
            max_wait: Duration::from_secs(5 * 60),
            max_body_bytes: 10 * 1024 * 1024,
            body_timeout: Duration::from_secs(60),
            max_body_values: 500_000,
            max_text_bytes: usize::MAX,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            max_answer_bytes: 256 << 20,
            max_connections: None,
            max_connections_per_address: None,
            tls: None,
            origins: Origins::default(),
            root_path: RootPath::default(),
            allowed_hosts: None,
            comment_every: Duration::from_secs(5),
            trusted_proxies: Vec::new(),
            address_requests_per_minute: None,
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// The limits of JSON in request bodies.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            values: self.max_body_values,
            text_bytes: self.max_text_bytes,
        }
    }
}
