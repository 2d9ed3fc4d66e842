//! Sends batches to the collector: again where that can help, and never more than the queue's bounds held.

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

/// Attempts at one batch before it is dropped: about half a minute.
const ATTEMPTS: u32 = 6;

/// What the worker is made of.
pub(crate) struct Collector {
    pub(crate) settings: Settings,
    pub(crate) resource: Resource,
    pub(crate) http: reqwest::Client,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) dropped: IntCounter,
}

/// Why a batch was not taken.
enum Failure {
    /// Later, perhaps.
    Busy(String),
    /// Never.
    Refused(String),
}

/// Until the queue's other end has gone, or the process is about to end and the queue is empty.
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
    /// Waits for more, so that a quiet server does not send every span by itself.
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
                        tracing::warn!(error = why, times, "the collector refuses spans");
                    }
                    break;
                }
                Err(Failure::Busy(why)) => {
                    let wait = health.failed(&why, self.dropped.get(), self.host.random());
                    // At the end of the process one more attempt must do.
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
        // Not before, so that what is on its way counts within the queue's bounds.
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

/// A request and its answer's head, in bounded time.
async fn within(
    host: &dyn Host,
    limit: Duration,
    sending: impl Future<Output = reqwest::Result<reqwest::Response>>,
) -> Result<reqwest::Response, String> {
    tokio::select! {
        biased;
        sent = sending => sent.map_err(|error| root_cause(&error)),
        () = host.sleep(limit) => Err(format!("no answer within {} s", limit.as_secs_f64())),
    }
}
