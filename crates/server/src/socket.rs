//! A connection's stream with timeouts: for the rest of a request's head, and for the peer to read
//! what is written. Closing it lingers, so that a peer that is still sending can read the last
//! answer.
//!
//! A timer exists only while the stream waits for its peer, so a stream in good order costs nothing
//! more.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long, after closing our side, what the peer still sends is read and dropped.
const LINGER: Duration = Duration::from_secs(2);
/// And how much of it, in bytes.
const LINGER_BYTES: usize = 4 << 20;

/// The timeouts of a [`Socket`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketTimeouts {
    /// For a request's head, from its first byte.
    pub(crate) head: Duration,
    /// For the peer to read at least some of what is written.
    pub(crate) stall: Duration,
}

/// Whether a connection is handling a request. The count of transitions goes up when a request
/// begins and when it ends, so it is odd meanwhile. A streamed or large answer ends once all of it
/// is handed over.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionActivity(Arc<State>);

#[derive(Debug, Default)]
struct State {
    transitions: AtomicUsize,
    /// A write waits for the peer to read.
    is_waiting: AtomicBool,
}

/// A request that is being handled, until this is dropped.
#[derive(Debug)]
pub(crate) struct RequestInProgress(ConnectionActivity);

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.0.advance();
    }
}

impl ConnectionActivity {
    /// Marks the beginning of a request.
    pub(crate) fn begin(&self) -> RequestInProgress {
        self.advance();
        RequestInProgress(self.clone())
    }

    fn advance(&self) {
        self.0.transitions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn is_handling(&self) -> bool {
        self.transitions() % 2 == 1
    }

    /// Whether a request is being handled, or its answer is still being sent.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_handling() || self.0.is_waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn transitions(&self) -> usize {
        self.0.transitions.load(Ordering::Relaxed)
    }

    fn set_waiting(&self, is_waiting: bool) {
        self.0.is_waiting.store(is_waiting, Ordering::Relaxed);
    }
}

type Timer = Option<Pin<Box<Sleep>>>;

#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    timeouts: SocketTimeouts,
    activity: ConnectionActivity,
    /// The transition at which `has_begun` and `head_timer` were last up to date.
    seen: usize,
    /// A part of a request's head has arrived.
    has_begun: bool,
    head_timer: Timer,
    stall_timer: Timer,
    /// Our side is closed.
    is_shut: bool,
    linger_timer: Timer,
    lingered: usize,
}

impl<S> Socket<S> {
    pub(crate) fn new(stream: S, timeouts: SocketTimeouts, activity: ConnectionActivity) -> Self {
        Self {
            stream,
            timeouts,
            activity,
            seen: 0,
            has_begun: false,
            head_timer: None,
            stall_timer: None,
            is_shut: false,
            linger_timer: None,
            lingered: 0,
        }
    }

    /// Stops the timer of a head that has arrived since.
    fn catch_up(&mut self) {
        let now = self.activity.transitions();
        if self.seen != now {
            self.seen = now;
            self.has_begun = false;
            self.head_timer = None;
        }
    }

    /// Passes on the outcome of a write; an error once it has waited for too long.
    fn written<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if self.stall_timer.take().is_some() {
                self.activity.set_waiting(false);
            }
            return outcome;
        }
        if self.stall_timer.is_none() {
            self.activity.set_waiting(true);
        }
        ready!(wait(&mut self.stall_timer, self.timeouts.stall, cx));
        Poll::Ready(Err(late("the peer does not read the answer")))
    }
}

/// Completes when the timer has run out. Starts it if it is not running.
fn wait(timer: &mut Timer, duration: Duration, cx: &mut Context<'_>) -> Poll<()> {
    timer
        .get_or_insert_with(|| Box::pin(sleep(duration)))
        .as_mut()
        .poll(cx)
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.catch_up();
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let is_handling = this.seen % 2 == 1;
        if outcome.is_ready() {
            this.has_begun |= !is_handling && buffer.filled().len() > before;
        } else if this.has_begun {
            ready!(wait(&mut this.head_timer, this.timeouts.head, cx));
            return Poll::Ready(Err(late("the head of a request did not arrive in time")));
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(outcome, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        this.written(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_flush(cx);
        this.written(outcome, cx)
    }

    /// Closes our side, and reads on for a little while if the peer is still sending: closing a
    /// socket with unread bytes resets the connection, and the peer would lose the answer that says
    /// why.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            let outcome = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.written(outcome, cx))?;
            this.is_shut = true;
        }
        this.catch_up();
        loop {
            let mut scratch = [MaybeUninit::uninit(); 4096];
            let mut buffer = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    this.lingered += buffer.filled().len();
                    if this.lingered > LINGER_BYTES {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending if this.lingered > 0 || this.has_begun => {
                    return wait(&mut this.linger_timer, LINGER, cx).map(Ok);
                }
                // The peer has closed its side too, or sends nothing.
                Poll::Ready(_) | Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    }
}
