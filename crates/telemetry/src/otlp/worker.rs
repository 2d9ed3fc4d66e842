//! Sends batches to the collector, and retries where that can help. Spans in a batch count within
//! the queue's limits.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus::IntCounter;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tokio::sync::mpsc::UnboundedReceiver;

use super::encode::{Resource, for_collector};
use super::{Queued, Settings};
use crate::export::{Closing, LogThrottle, SinkHealth, closed};
use crate::http::root_cause;

/// Attempts per batch before it is dropped, which take about half a minute.
const ATTEMPTS: u32 = 6;

/// What the worker needs.
pub(crate) struct Collector {
    pub(crate) settings: Settings,
    pub(crate) resource: Resource,
    pub(crate) http: reqwest::Client,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) dropped: IntCounter,
}

/// Why a batch was not accepted.
enum Failure {
    /// A later attempt may succeed.
    Busy(String),
    /// No later attempt can succeed.
    Refused(String),
}

/// Sends spans until the queue is closed, or until the process is about to end and the queue is
/// empty.
pub(crate) async fn work(
    collector: Collector,
    mut queue: UnboundedReceiver<Queued>,
    mut closing: Closing,
) {
    let mut health = SinkHealth::new("otlp");
    let mut refusals = LogThrottle::default();
    let mut batch = Vec::new();
    loop {
        let open = tokio::select! {
            biased;
            taken = queue.recv_many(&mut batch, collector.settings.max_batch) => taken > 0,
            () = closed(&mut closing) => false,
        };
        if !open {
            return;
        }
        collector.fill(&mut batch, &mut queue, &mut closing).await;
        collector
            .deliver(&mut batch, &mut health, &mut refusals, &mut closing)
            .await;
    }
}

impl Collector {
    /// Waits for more spans, so that a server with little traffic does not send each one
    /// separately.
    async fn fill(
        &self,
        batch: &mut Vec<Queued>,
        queue: &mut UnboundedReceiver<Queued>,
        closing: &mut Closing,
    ) {
        let most = self.settings.max_batch;
        let mut delay = self.host.sleep(self.settings.delay);
        while batch.len() < most {
            tokio::select! {
                biased;
                taken = queue.recv_many(batch, most - batch.len()) => if taken == 0 { return },
                () = closed(closing) => return,
                () = &mut delay => return,
            }
        }
    }

    async fn deliver(
        &self,
        batch: &mut Vec<Queued>,
        health: &mut SinkHealth,
        refusals: &mut LogThrottle,
        closing: &mut Closing,
    ) {
        let spans = batch.len() as u64;
        let body = self.body(batch);
        let mut attempt = 1;
        loop {
            match self.send(body.clone()).await {
                Ok(()) => {
                    health.answered(self.dropped.get());
                    break;
                }
                Err(Failure::Refused(why)) => {
                    self.dropped.inc_by(spans);
                    if let Some(times) = refusals.due() {
                        tracing::warn!(error = why, times, "the collector rejects spans");
                    }
                    break;
                }
                Err(Failure::Busy(why)) => {
                    let wait = health.failed(&why, self.dropped.get(), self.host.random());
                    // When the process is about to end, there is only one more attempt.
                    if attempt >= ATTEMPTS || *closing.borrow() {
                        self.dropped.inc_by(spans);
                        break;
                    }
                    attempt += 1;
                    tokio::select! {
                        biased;
                        () = closed(closing) => {}
                        () = self.host.sleep(wait) => {}
                    }
                }
            }
        }
        // Only now, so that spans in transit count within the queue's limits.
        batch.clear();
    }

    fn body(&self, batch: &[Queued]) -> Vec<u8> {
        let spans = batch.iter().map(|queued| queued.span.clone());
        let body = for_collector(spans, &self.resource);
        if !self.settings.gzip {
            return body;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(&body)
            .and_then(|()| encoder.finish())
            .expect("memory can be written")
    }

    async fn send(&self, body: Vec<u8>) -> Result<(), Failure> {
        let mut request = self
            .http
            .post(self.settings.endpoint.clone())
            .headers(self.settings.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        if self.settings.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let sent = within(&*self.host, self.settings.timeout, request.send()).await;
        let answer = sent.map_err(Failure::Busy)?;
        match answer.status().as_u16() {
            200..300 => Ok(()),
            status @ (429 | 502..=504) => Err(Failure::Busy(format!("HTTP status {status}"))),
            status => Err(Failure::Refused(format!("HTTP status {status}"))),
        }
    }
}

/// Sends a request, and waits for the head of the response within a time limit.
async fn within(
    host: &dyn Host,
    limit: Duration,
    sending: impl Future<Output = reqwest::Result<reqwest::Response>>,
) -> Result<reqwest::Response, String> {
    tokio::select! {
        biased;
        sent = sending => sent.map_err(|error| root_cause(&error)),
        () = host.sleep(limit) => Err(format!("no response within {} s", limit.as_secs_f64())),
    }
}
