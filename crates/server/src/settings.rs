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
    /// How many values a request body may hold: texts, numbers, lists, objects and the like.
    pub max_body_values: usize,
    /// The longest text in a request body, in bytes as it is written there.
    pub max_text_bytes: usize,
    /// The longest time a request's head may take to arrive once it has begun, and a TLS handshake.
    pub head_timeout: Duration,
    /// After which an idle connection is closed.
    pub idle_timeout: Duration,
    /// How long a client may leave what is written to it unread.
    pub write_timeout: Duration,
    /// Memory for answers larger than 64 KiB that are being sent at the same time, in bytes.
    pub max_answer_bytes: usize,
    /// The most connections at once; `None`: as many as come.
    pub max_connections: Option<NonZeroUsize>,
    /// The most connections at once from one address (of IPv6: one /64 network).
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// TLS instead of plain HTTP.
    pub tls: Option<Tls>,
    /// Whose web pages may call the API from a browser.
    pub origins: Origins,
    /// Where a proxy shows this server to its clients.
    pub root_path: RootPath,
    /// The names, besides those of loopback, by which clients may ask for this server; `None`: any.
    pub allowed_hosts: Option<AllowedHosts>,
    /// How often an event stream carries a comment line, so that nobody between takes it for dead.
    pub comment_every: Duration,
    /// Networks of proxies that say truly whom they ask for.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests a minute without a good API key, from each address; `None`: any number.
    pub address_requests_per_minute: Option<NonZeroU32>,
    /// After `shutdown`, how long answers in flight may take before their connections are cut.
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
    /// Of the JSON in request bodies.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            values: self.max_body_values,
            text_bytes: self.max_text_bytes,
        }
    }
}
