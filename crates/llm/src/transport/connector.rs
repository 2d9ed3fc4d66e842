//! Opens connections: straight to a server or through a proxy, encrypted where the address says so.
//!
//! An `http` address behind a proxy is asked of the proxy itself; an `https` address is reached
//! through a tunnel, so that a proxy sees neither keys nor prompts.
//!
//! Names are resolved here, by a resolver that hands on only what may be connected to: there is no
//! second look-up that could say something else. What a proxy resolves is the proxy's to judge.

use std::error::Error as StdError;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper::http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::reach::{NotAllowed, Reach};

type BoxError = Box<dyn StdError + Send + Sync>;
type Tcp = HttpConnector<Resolver>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// How often a silent connection is probed, and after how many failed probes it is closed.
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;

/// How long sent data may stay unacknowledged.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Opens connections within a time limit.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<ServerConnector>,
    limit: Duration,
}

/// No connection was made within the time limit.
#[derive(Debug, thiserror::Error)]
#[error("no connection in time")]
pub(super) struct ConnectTimeout;

impl Connector {
    pub(super) fn new(
        tls: ClientConfig,
        proxies: Arc<Matcher>,
        reach: Option<Arc<dyn Reach>>,
        user_agent: HeaderValue,
        limit: Duration,
    ) -> Self {
        let tcp = |reach| tcp(Resolver { reach }, limit);
        // A proxy is spoken to in HTTP/1.1, and is where the operator says it is.
        let mut to_proxy = tls.clone();
        to_proxy.alpn_protocols.clear();
        let connector = ServerConnector {
            to_proxy: HttpsConnector::from((tcp(None), to_proxy)),
            straight: tcp(reach),
            proxies,
            user_agent,
        };
        Self {
            https: HttpsConnector::from((connector, tls)),
            limit,
        }
    }
}

fn tcp(resolver: Resolver, limit: Duration) -> Tcp {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Shared by the addresses of a name, so that a dead one does not use up all of it.
    tcp.set_connect_timeout(Some(limit));
    tcp.set_keepalive(Some(PROBE_EVERY));
    tcp.set_keepalive_interval(Some(PROBE_EVERY));
    tcp.set_keepalive_retries(Some(PROBES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp
}

/// Resolves names to addresses that may be connected to.
#[derive(Clone)]
struct Resolver {
    /// `None`: all addresses are allowed.
    reach: Option<Arc<dyn Reach>>,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach.clone();
        Box::pin(async move {
            let found = GaiResolver::new().call(name.clone()).await?;
            let Some(reach) = reach else {
                return Ok(found.collect::<Vec<_>>().into_iter());
            };
            let allowed: Vec<_> = found
                .filter(|found| reach.allows(name.as_str(), found.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(NotAllowed.into());
            }
            Ok(allowed.into_iter())
        })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<ServerStream>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.https.call(to));
        Box::pin(async move {
            connecting
                .await
                .unwrap_or_else(|_| Err(ConnectTimeout.into()))
        })
    }
}

/// Connects to a server directly or through a proxy.
#[derive(Clone)]
struct ServerConnector {
    straight: Tcp,
    to_proxy: HttpsConnector<Tcp>,
    proxies: Arc<Matcher>,
    user_agent: HeaderValue,
}

impl Service<Uri> for ServerConnector {
    type Response = ServerStream;
    type Error = BoxError;
    type Future = Connecting<ServerStream>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.straight.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let Some(proxy) = self.proxies.intercept(&to) else {
            let connecting = self.straight.call(to);
            return Box::pin(async move {
                Ok(ServerStream {
                    stream: MaybeHttpsStream::Http(connecting.await?),
                    is_proxy: false,
                })
            });
        };
        if to.scheme() == Some(&Scheme::HTTPS) {
            let headers = HeaderMap::from_iter([(USER_AGENT, self.user_agent.clone())]);
            let mut tunnel =
                Tunnel::new(proxy.uri().clone(), self.to_proxy.clone()).with_headers(headers);
            if let Some(key) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(key.clone());
            }
            let digging = tunnel.call(to);
            Box::pin(async move {
                Ok(ServerStream {
                    stream: digging.await?,
                    is_proxy: false,
                })
            })
        } else {
            let connecting = self.to_proxy.call(proxy.uri().clone());
            Box::pin(async move {
                Ok(ServerStream {
                    stream: connecting.await?,
                    is_proxy: true,
                })
            })
        }
    }
}

/// The stream to a server, without the encryption to the server itself.
pub(super) struct ServerStream {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// The other end is a proxy and wants to see whole addresses.
    is_proxy: bool,
}

impl ServerStream {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut MaybeHttpsStream<TokioIo<TcpStream>>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Connection for ServerStream {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.is_proxy)
    }
}

impl Read for ServerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl Write for ServerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, pieces)
    }
}
