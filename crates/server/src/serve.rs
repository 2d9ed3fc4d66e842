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

/// Connections that the kernel may hold ready while we are busy; it cuts this down to its own limit.
const BACKLOG: u32 = 16_384;

/// What the kernel keeps of an answer that is not read yet, in bytes (Linux doubles it). With as much as
/// it would take by itself, a slow but steady reader moves it on too seldom to be told from one that
/// reads nothing.
const SEND_BUFFER: u32 = 128 << 10;

/// How long to wait after the machine refused us a connection, mostly for want of descriptors.
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

/// Serves until `shutdown`. Then nothing new is accepted, answers in flight may still go out for
/// [`close_timeout`](crate::Settings::close_timeout), and what is left is cut.
///
/// This is the second stage of a shutdown. In the first the caller drains the service: readiness and
/// new runs answer 503 while the runs in flight finish, all of it still served here.
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
                                "connections are turned away: there are too many"
                            );
                        }
                    }
                }
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted; trying again");
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

/// The peer went away between its connecting and our accepting.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
