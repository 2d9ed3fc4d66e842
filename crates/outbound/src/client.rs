//! The HTTP client that keeps to a [`Policy`].
//!
//! Names are resolved by a resolver of our own that hands on only what the policy allows, so there is no
//! second look-up that could say something else. An address in a URL is never resolved and is judged
//! before the request. Redirects are not followed, and there is no proxy: it would resolve for itself.

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

use crate::policy::{Policy, Unfit, literal};

/// So much of an answer's body is read, so long, that the connection may serve another request.
const MAX_IGNORED_BODY: usize = 16 << 10;
const MAX_LINGER: Duration = Duration::from_millis(100);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One message.
#[derive(Clone)]
pub struct Request {
    /// Where to. May hold credentials.
    pub url: Url,
    /// Beside those that every request has.
    pub headers: Vec<(&'static str, String)>,
    /// The whole body.
    pub body: Bytes,
}

/// Neither what is sent nor the whole address: both may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("to", &place(&self.url))
            .finish_non_exhaustive()
    }
}

/// What came back; the body is of no interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP.
    pub status: u16,
    /// Where the receiver asks for time.
    pub retry_after: Option<Duration>,
}

/// Why there was no answer. One sentence that holds no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Sends messages; the one who does I/O.
#[async_trait]
pub trait Post: Send + Sync + fmt::Debug {
    /// One try. How long it may take is the caller's to say, by dropping it.
    async fn post(&self, request: Request) -> Result<Answer, Error>;
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    policy: Arc<Policy>,
}

impl Client {
    /// A client that trusts the roots in `tls`.
    pub fn new(policy: Arc<Policy>, tls: ClientConfig) -> Result<Self, Error> {
        let resolver = Guard {
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
            let value = HeaderValue::try_from(value)
                .map_err(|_| Error(format!("the header {name} cannot be sent")))?;
            map.insert(HeaderName::from_static(name), value);
        }
        let sent = self.http.post(url.clone()).headers(map).body(body).send();
        let response = sent.await.map_err(|error| failed(&url, &error))?;
        let answer = Answer {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
        };
        // Whatever becomes of it, the answer stands.
        let _ended_in_time = tokio::time::timeout(MAX_LINGER, read_away(response)).await;
        Ok(answer)
    }
}

async fn read_away(mut response: Response) {
    let mut left = MAX_IGNORED_BODY;
    while let Ok(Some(piece)) = response.chunk().await {
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Resolves names to what the policy allows.
#[derive(Debug)]
struct Guard {
    policy: Arc<Policy>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = match tokio::net::lookup_host((host, 0)).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::info!(host, %error, "the name of a receiver was not found");
                    return Err(LeadsNowhere.into());
                }
            };
            let allowed: Vec<SocketAddr> = found
                .filter(|found| policy.allows(host, found.ip()))
                .collect();
            if allowed.is_empty() {
                tracing::info!(
                    host,
                    "the name of a receiver leads only to addresses that are not allowed"
                );
                return Err(LeadsNowhere.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// There is no such name, or it leads only where nothing may be sent. Whoever chose the name is not told which:
/// it would tell which names there are in the server's own network. The log has it.
#[derive(Debug, thiserror::Error)]
#[error("its name leads nowhere, or to addresses that this server does not allow")]
struct LeadsNowhere;

fn not_allowed(url: &Url) -> Error {
    Error(format!(
        "{} was not asked: {}",
        place(url),
        Unfit::NotAllowed
    ))
}

fn failed(url: &Url, error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if cause.is::<LeadsNowhere>() {
            return Error(format!("no connection to {}: {cause}", place(url)));
        }
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    let place = place(url);
    Error(if error.is_timeout() {
        format!("no connection to {place} in time")
    } else if error.is_connect() {
        format!("no connection to {place}: {cause}")
    } else {
        format!("the connection to {place} broke: {cause}")
    })
}

/// Host and port only.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the receiver");
    url.port_or_known_default()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// In seconds; a date is not worth reading.
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
