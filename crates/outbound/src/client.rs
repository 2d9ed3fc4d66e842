//! The HTTP client that enforces a [`Policy`].
//!
//! Names are resolved by a resolver of our own that hands on only what the policy allows, so there
//! is no second look-up that could say something else. An address in a URL is never resolved and is
//! judged before the request. Redirects are not followed, and there is no proxy: it would resolve
//! for itself.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy as Redirects;
use reqwest::{Response, Url};
use rustls::ClientConfig;

use crate::policy::{Policy, UrlRefusal, literal};

/// The body of an answer is read up to this size and this long, so that the connection can be
/// reused.
const MAX_DRAINED_BODY: usize = 16 << 10;
const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One request.
#[derive(Clone)]
pub struct Request {
    /// The receiver's address. May hold credentials.
    pub url: Url,
    /// Headers besides those that every request has.
    pub headers: Vec<(&'static str, String)>,
    /// The whole body.
    pub body: Bytes,
}

/// Shows neither the contents nor the whole address: both may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("to", &host_and_port(&self.url))
            .finish_non_exhaustive()
    }
}

/// The answer of the receiver. Its body is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long the receiver asks to wait, if it does.
    pub retry_after: Option<Duration>,
}

/// Why there was no answer, or why a client cannot be set up. A sentence without secrets.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Sends requests. The product implements it with [`Client`], tests without I/O.
#[async_trait]
pub trait Post: Send + Sync + fmt::Debug {
    /// Sends a request once. The caller sets the time limit, by dropping the future.
    async fn post(&self, request: Request) -> Result<Answer, Error>;
}

/// An HTTP client that connects only where its policy allows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    policy: Arc<Policy>,
}

impl Client {
    /// A client that trusts the roots in `tls`.
    pub fn new(policy: Arc<Policy>, tls: ClientConfig) -> Result<Self, Error> {
        let resolver = PolicyResolver {
            policy: policy.clone(),
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!("flowmill/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(resolver))
            .redirect(Redirects::none())
            .no_proxy()
            .no_gzip()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| Error(format!("the HTTP client cannot be set up: {error}")))?;
        Ok(Self { http, policy })
    }
}

#[async_trait]
impl Post for Client {
    async fn post(&self, request: Request) -> Result<Answer, Error> {
        let Request { url, headers, body } = request;
        if let Some(address) = literal(&url)
            && !self
                .policy
                .allows(url.host_str().unwrap_or_default(), address)
        {
            return Err(not_allowed(&url));
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::try_from(value).map_err(|_| {
                Error(format!(
                    "the value of the header {name} is not valid in HTTP"
                ))
            })?;
            map.insert(HeaderName::from_static(name), value);
        }
        let sent = self.http.post(url.clone()).headers(map).body(body).send();
        let response = sent.await.map_err(|error| failed(&url, &error))?;
        let answer = Answer {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
        };
        // The answer counts whether or not its body ends in time.
        let _ended_in_time = tokio::time::timeout(DRAIN_TIMEOUT, drain(response)).await;
        Ok(answer)
    }
}

async fn drain(mut response: Response) {
    let mut left = MAX_DRAINED_BODY;
    while let Ok(Some(piece)) = response.chunk().await {
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// A resolver that returns only the addresses that the policy allows.
#[derive(Debug)]
struct PolicyResolver {
    policy: Arc<Policy>,
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = match tokio::net::lookup_host((host, 0)).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::info!(host, %error, "cannot resolve the host of a receiver");
                    return Err(NoAllowedAddress.into());
                }
            };
            let allowed: Vec<SocketAddr> = found
                .filter(|found| policy.allows(host, found.ip()))
                .collect();
            if allowed.is_empty() {
                tracing::info!(
                    host,
                    "the host of a receiver resolves only to addresses that are not allowed"
                );
                return Err(NoAllowedAddress.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The name cannot be resolved, or resolves only to addresses that are not allowed. The sender is
/// not told which of the two, because that would reveal names in the server's own network. The log
/// says it.
#[derive(Debug, thiserror::Error)]
#[error(
    "its name cannot be resolved, or resolves only to addresses that this server does not allow"
)]
struct NoAllowedAddress;

fn not_allowed(url: &Url) -> Error {
    Error(format!(
        "no request was sent to {}: {}",
        host_and_port(url),
        UrlRefusal::NotAllowed
    ))
}

fn failed(url: &Url, error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if cause.is::<NoAllowedAddress>() {
            return Error(format!("no connection to {}: {cause}", host_and_port(url)));
        }
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    let receiver = host_and_port(url);
    Error(if error.is_timeout() {
        format!("no connection to {receiver}: it did not answer in time")
    } else if error.is_connect() {
        format!("no connection to {receiver}: {cause}")
    } else {
        format!("the connection to {receiver} was lost: {cause}")
    })
}

/// Host and port only.
fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the receiver");
    url.port_or_known_default()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// `retry-after` in seconds. The form with a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_printed_without_what_may_be_secret() {
        let request = Request {
            url: Url::parse("https://user:letmein@example.com/letmein?k=letmein").expect("a URL"),
            headers: vec![("webhook-signature", "letmein".to_owned())],
            body: Bytes::from_static(b"letmein"),
        };
        let printed = format!("{request:?}");
        assert!(printed.contains("example.com:443"), "{printed}");
        assert!(!printed.contains("letmein"), "{printed}");
    }
}
