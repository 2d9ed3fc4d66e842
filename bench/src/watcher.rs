//! A client that follows the events of a job, and notes when each arrives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

/// Arrival of each event by its id.
pub(crate) type Arrivals = BTreeMap<u64, Instant>;

/// Follows a job to the end of its stream. Tells when the stream has begun.
pub(crate) async fn watch(
    address: SocketAddr,
    job: String,
    begun: UnboundedSender<()>,
) -> Result<Arrivals> {
    let stream = TcpStream::connect(address)
        .await
        .context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let follow = async {
        let request = Request::get(format!("/jobs/{job}/events"))
            .header(HOST, "localhost")
            .header(ACCEPT, "text/event-stream")
            .body(Empty::<Bytes>::new())
            .expect("a correct request");
        let response = sender.send_request(request).await?;
        ensure!(
            response.status() == StatusCode::OK,
            "status {}",
            response.status()
        );
        // Nobody may wait for it.
        let _ = begun.send(());
        let mut body = response.into_body();
        let mut arrivals = Arrivals::new();
        let mut unread = String::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            let now = Instant::now();
            unread.push_str(std::str::from_utf8(&data)?);
            while let Some((line, rest)) = unread.split_once('\n') {
                if let Some(id) = line.strip_prefix("id:") {
                    arrivals.insert(id.trim().parse()?, now);
                }
                unread = rest.to_owned();
            }
        }
        Ok(arrivals)
    };
    tokio::select! {
        arrivals = follow => arrivals,
        ended = connection => {
            ended.context("the connection broke")?;
            anyhow::bail!("the server closed the connection")
        }
    }
}
