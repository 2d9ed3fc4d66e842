//! Malicious clients, at a rate that leaves the machine some capacity: this measures whether the
//! server keeps other clients waiting, not how fast it refuses these.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Connections of each kind that send a byte from time to time.
const SLOW: usize = 100;
const NOW_AND_THEN: Duration = Duration::from_millis(500);

/// Time between two requests of each kind that is refused.
const PAUSE: Duration = Duration::from_millis(100);

/// While connections are younger than this, the server does not close them to make room, and
/// refuses others beyond its limit.
const SETTLING: Duration = Duration::from_millis(1_500);

/// An attack that runs on its own thread until it is dropped.
pub(crate) struct Attack {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    /// Starts the attack; returns once `idle` connections are open.
    pub(crate) async fn begin(target: SocketAddr, idle: usize) -> Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (is_open, mut opened) = mpsc::channel(1);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = attack(target, idle, is_open) => {}
                    _ = stopped => {}
                }
            });
        });
        let attack = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        opened
            .recv()
            .await
            .context("the attack ended before it began")?;
        Ok(attack)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn attack(target: SocketAddr, idle: usize, is_open: mpsc::Sender<()>) {
    let mut held = Vec::new();
    for _ in 0..idle {
        // The server may refuse further connections.
        if let Ok(stream) = TcpStream::connect(target).await {
            held.push(stream);
        }
    }
    sleep(SETTLING).await;
    let mut all = JoinSet::new();
    let post = "POST /run HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for _ in 0..SLOW {
        all.spawn(drip(target, format!("{post}x-slow: ")));
        all.spawn(drip(
            target,
            format!("{post}content-length: 100000\r\n\r\n"),
        ));
    }
    let with_body = |body: String| format!("{post}content-length: {}\r\n\r\n{body}", body.len());
    for request in [
        with_body(format!(r#"{{"name": {}"#, "[".repeat(100_000))),
        with_body(format!(r#"{{"name": [{}[]]}}"#, "[],".repeat(300_000))),
        format!("{post}{}", "x-flood: x\r\n".repeat(50_000)),
        format!(
            "{post}content-length: 20000000\r\n\r\n{}",
            "x".repeat(1_000_000)
        ),
        "\x16\x03\x01 no TLS, and no HTTP\r\n\r\n".to_owned(),
    ] {
        all.spawn(repeat(target, request));
    }
    let _ = is_open.send(()).await;
    all.join_all().await;
}

/// Repeatedly sends the beginning of a request and then byte after byte, for as long as the server
/// allows.
async fn drip(target: SocketAddr, beginning: String) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(target).await {
            let mut sent = stream.write_all(beginning.as_bytes()).await;
            while sent.is_ok() {
                sleep(NOW_AND_THEN).await;
                sent = stream.write_all(b"x").await;
            }
        }
        sleep(NOW_AND_THEN).await;
    }
}

/// Repeatedly sends a whole request and waits for the response.
async fn repeat(target: SocketAddr, request: String) {
    loop {
        let next = Instant::now() + PAUSE;
        if let Ok(mut stream) = TcpStream::connect(target).await {
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = [0; 4096];
            let _ = timeout(PAUSE, stream.read(&mut answer)).await;
        }
        tokio::time::sleep_until(next).await;
    }
}
