//! From a listening socket to answers. The caller owns the port and says when to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::request::client::Peer;
use crate::{middleware, router};

/// Connections that the kernel may hold ready while we are busy; it cuts this down to its own limit.
const BACKLOG: u32 = 16_384;

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
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown`. Then nothing new is accepted, answers in flight may still go out for
/// [`close_timeout`](crate::Settings::close_timeout), and what is left is cut.
///
/// This is the second stage of a shutdown. In the first the caller drains the service: readiness and
/// new runs answer 503 while the runs in flight finish, all of it still served here.
pub async fn serve(listener: TcpListener, app: App, shutdown: CancellationToken) {
    let router = router::build(&app);
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = Connection {
                    app: app.clone(),
                    peer: Peer(peer.ip()),
                    router: router.clone(),
                    shutdown: shutdown.clone(),
                };
                connections.spawn(
                    cut.clone()
                        .run_until_cancelled_owned(connection.serve(stream)),
                );
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

struct Connection {
    app: App,
    peer: Peer,
    router: Router,
    shutdown: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        // Answers are written whole; waiting to fill a packet would only delay them and SSE events.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        let respond = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            let (app, mut router) = (self.app.clone(), self.router.clone());
            let mut request = request.map(Body::new);
            if app.addresses().is_some() {
                request.extensions_mut().insert(self.peer);
            }
            async move { Ok::<_, Infallible>(middleware::answer(&app, &mut router, request).await) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.app.settings().head_timeout)
                .serve_connection(TokioIo::new(stream), respond)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
