//! Spans to an OpenTelemetry collector, over OTLP/HTTP with protobuf.

mod encode;
mod sampler;
mod settings;
mod worker;

use std::sync::Arc;

use crate::queue::{BytePermit, EntryPermit, Queue};
use crate::span::Span;

pub(crate) use encode::{Resource, for_mlflow};
pub use sampler::Sampler;
pub use settings::{Settings, SettingsError};
pub(crate) use worker::{Collector, work};

/// A queued span, with its permits.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) span: Span,
    _entry: EntryPermit,
    _bytes: BytePermit,
}

/// The queue of spans to the collector.
#[derive(Debug)]
pub(crate) struct SpanQueue(pub(crate) Queue<Queued>);

impl SpanQueue {
    /// Queues a span, or drops and counts it.
    pub(crate) fn offer(&self, span: Span) {
        let budget = &self.0.budget;
        match (budget.take_entry(), budget.take_bytes(span.bytes())) {
            (Some(entry), Some(bytes)) => self.0.send(Queued {
                span,
                _entry: entry,
                _bytes: bytes,
            }),
            _ => self.0.dropped.count(),
        }
    }
}

/// The queue of spans, and the sampler that selects them.
#[derive(Debug, Clone)]
pub(crate) struct Spans {
    pub(crate) queue: Arc<SpanQueue>,
    pub(crate) sampler: Sampler,
}
