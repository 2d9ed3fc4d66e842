//! One connection, from its acceptance to its end.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use crate::app::App;
use crate::connection_limit::ConnectionSlot;
use crate::log_throttle::LogThrottle;
use crate::middleware;
use crate::request::client::Peer;
use crate::socket::{ConnectionActivity, Socket, SocketTimeouts};
use crate::tls::Tls;
use crate::views::delivery;

/// Bytes that are buffered in each direction: read but not handled yet, and written but not sent
/// yet. Hyper refuses a larger head with a 431 of its own.
const BUFFER: usize = 64 << 10;

/// The type of a TLS handshake record: the first byte of every TLS connection.
const HANDSHAKE: u8 = 0x16;

/// What the connections of a port share.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) app: App,
    pub(crate) router: Router,
    /// For the warnings about clients that do not speak TLS.
    pub(crate) not_tls: Mutex<LogThrottle>,
}

/// Serves a connection to its end, and gives its slot back.
pub(crate) async fn serve(port: &Port, stream: TcpStream, slot: ConnectionSlot) {
    // Answers are written whole; waiting to fill a packet would only delay them and SSE events.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    // Nothing is allocated before the first byte arrives: idle clients cost little.
    let mut first = [0];
    let comes = timeout(port.app.settings().idle_timeout, stream.peek(&mut first));
    let stream = match slot.leave.run_until_cancelled(comes).await {
        Some(Ok(Ok(1))) => stream,
        // It is asked to close, but a request that has already arrived is answered.
        None => match with_something_to_read(stream, &mut first) {
            Some(stream) => stream,
            None => return,
        },
        Some(_) => return,
    };
    match &port.app.settings().tls {
        None => Box::pin(speak(port, stream, &slot)).await,
        Some(tls) => {
            let is_tls = first == [HANDSHAKE];
            Box::pin(speak_securely(port, tls, is_tls, stream, &slot)).await;
        }
    }
}

/// The stream, if bytes of its peer have arrived. Asks the kernel: the runtime may not know of them
/// yet.
fn with_something_to_read(stream: TcpStream, first: &mut [u8; 1]) -> Option<TcpStream> {
    let stream = stream.into_std().ok()?;
    if stream.peek(first).ok()? == 0 {
        return None;
    }
    TcpStream::from_std(stream).ok()
}

async fn speak_securely(
    port: &Port,
    tls: &Tls,
    is_tls: bool,
    stream: TcpStream,
    slot: &ConnectionSlot,
) {
    let limit = port.app.settings().head_timeout;
    let shaken = Box::pin(timeout(limit, handshake(port, tls, is_tls, stream)));
    match slot.leave.run_until_cancelled(shaken).await {
        Some(Ok(Ok(stream))) => speak(port, stream, slot).await,
        Some(Ok(Err(error))) => {
            tracing::debug!(peer = %slot.peer, %error, "the TLS handshake failed");
        }
        Some(Err(_elapsed)) => tracing::debug!("the TLS handshake timed out"),
        None => {}
    }
}

/// Serves HTTP until the connection ends.
async fn speak(port: &Port, stream: impl AsyncRead + AsyncWrite + Unpin, slot: &ConnectionSlot) {
    let settings = port.app.settings();
    let activity = &slot.activity;
    let respond = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        // Before anything is awaited: the socket's timer for heads stops here.
        let in_progress = activity.begin();
        let mut router = port.router.clone();
        let mut request = request.map(Body::new);
        if port.app.addresses().is_some() {
            request.extensions_mut().insert(Peer(slot.peer));
        }
        async move {
            let answer = middleware::answer(&port.app, &mut router, slot.peer, request).await;
            let answer = port.app.answer_budget().in_chunks(answer, in_progress);
            Ok::<_, Infallible>(delivery::counting_delivery(answer))
        }
    });
    let timeouts = SocketTimeouts {
        head: settings.head_timeout,
        stall: settings.write_timeout,
    };
    let socket = Socket::new(stream, timeouts, activity.clone());
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            // From the end of one request to the first byte of the next; `Socket` times the rest of
            // the head.
            .header_read_timeout(settings.idle_timeout)
            .max_buf_size(BUFFER)
            .max_header_size(BUFFER)
            .serve_connection(TokioIo::new(socket), respond)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = slot.leave.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = overstays(activity) => {
                    tracing::debug!(peer = %slot.peer, "a connection did not close in time and is cut");
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %slot.peer, %error, "a connection broke off");
    }
}

/// How long a connection without a request may take to close when it is asked to.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Completes when a connection that was asked to close has handled no request for that time.
async fn overstays(activity: &ConnectionActivity) {
    loop {
        let before = activity.transitions();
        sleep(CLOSING_TIME).await;
        if !activity.is_busy() && activity.transitions() == before {
            return;
        }
    }
}

async fn handshake(
    port: &Port,
    tls: &Tls,
    is_tls: bool,
    mut stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    if is_tls {
        return tls.accept(stream).await;
    }
    port.app.telemetry().metrics().connection_refused("not_tls");
    let now = port.app.service().host().elapsed();
    let due = {
        let mut not_tls = port.not_tls.lock().unwrap_or_else(PoisonError::into_inner);
        not_tls.note(now)
    };
    if let Some(times) = due {
        tracing::warn!(
            times,
            "a client sent plain HTTP, or something else, to the TLS port; it must use https://"
        );
    }
    // Its request is read first: closing with unread bytes would reset the connection.
    let _ = stream.try_read(&mut [0; 4096]);
    stream.write_all(PLAIN).await?;
    stream.shutdown().await?;
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "this is not TLS",
    ))
}

/// The answer to a client that does not speak TLS, which may not be an HTTP client at all.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 44\r\nconnection: close\r\n\r\n\
    This server speaks HTTPS here; use https://\n";
