//! From a listening socket to answers. The caller owns the port and says when to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::connection::{self, Port};
use crate::connection_limit::{self, ConnectionLimit};
use crate::log_throttle::LogThrottle;
use crate::router;

/// Connections that the kernel may queue until we accept them. It caps this at its own limit.
const BACKLOG: u32 = 16_384;

/// Bytes of an answer that the kernel buffers (Linux doubles it). With its much larger default, a
/// slow but steady reader could look stalled: the buffer would rarely have space for us to write.
const SEND_BUFFER: u32 = 128 << 10;

/// How long to wait when a connection cannot be accepted, mostly because file descriptors have run
/// out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens on an address. Port 0 takes a free one; ask the listener which.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown`. Then no connection is accepted any more, answers in flight have
/// [`close_timeout`](crate::Settings::close_timeout) to be sent, and connections that are still
/// open are cut.
///
/// This is the second stage of a shutdown. In the first the caller drains the service: readiness
/// and new runs answer 503 while the runs in flight finish, all of it still served here.
pub async fn serve(listener: TcpListener, app: App, shutdown: CancellationToken) {
    let limit = ConnectionLimit::new(
        app.settings().max_connections,
        app.settings().max_connections_per_address,
        Arc::clone(app.telemetry().metrics()),
    );
    let port = Arc::new(Port {
        router: router::build(&app),
        app: app.clone(),
        not_tls: Mutex::default(),
    });
    let mut rejections = LogThrottle::default();
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                match limit.admit(peer.ip(), app.service().host().elapsed(), &shutdown) {
                    Ok(slot) => {
                        let port = Arc::clone(&port);
                        let connection =
                            async move { connection::serve(&port, stream, slot).await };
                        connections.spawn(cut.clone().run_until_cancelled_owned(connection));
                    }
                    Err(full) => {
                        connection_limit::reject(stream, app.settings().tls.is_some());
                        app.telemetry().metrics().connection_refused(full.as_str());
                        if let Some(times) = rejections.note(app.service().host().elapsed()) {
                            let bound = full.as_str();
                            tracing::warn!(
                                times,
                                bound,
                                "too many connections; new ones are refused"
                            );
                        }
                    }
                }
            }
            Err(error) if is_caused_by_peer(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; retrying");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    app.drains().close();
    let all_answered = async {
        connections.wait().await;
        app.drains().wait().await;
    };
    if timeout(app.settings().close_timeout, all_answered)
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            "connections were cut at shutdown"
        );
        cut.cancel();
        connections.wait().await;
    }
}

/// The peer closed the connection before it was accepted.
fn is_caused_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
