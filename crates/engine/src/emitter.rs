//! Where events and the end of a run leave the engine: here alone what is sensitive in them is masked.
//!
//! Whoever makes an event or a failure puts into it what is so. What an observer is lent with a model call is
//! the observer's to mask, with the run's [`Capture`].

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use lang::workflow::NodeId;

use crate::capture::{Capture, Deltas};
use crate::event::{EventKind, RunEvent};
use crate::host::Host;
use crate::observer::Observer;
use crate::outcome::{Finished, Outcome};

/// Masks, numbers and dates a run's events, and hands them on, one at a time.
pub(crate) struct Emitter<'a> {
    host: &'a dyn Host,
    observer: &'a dyn Observer,
    capture: &'a Capture,
    last: Mutex<u64>,
}

impl<'a> Emitter<'a> {
    /// `last` is the id of the last event of an earlier attempt at the run, or 0.
    pub(crate) fn new(
        host: &'a dyn Host,
        observer: &'a dyn Observer,
        capture: &'a Capture,
        last: u64,
    ) -> Self {
        Self {
            host,
            observer,
            capture,
            last: Mutex::new(last),
        }
    }

    /// Tells of something that happened during the run.
    pub(crate) fn emit(&self, mut kind: EventKind) {
        if self.capture.hides() {
            mask(self.capture, &mut kind);
        }
        self.hand_on(kind);
    }

    /// The pieces of one answer, to be told as they arrive.
    pub(crate) fn pieces(
        &'a self,
        node: NodeId,
        node_id: &'a Arc<str>,
        item: Option<usize>,
    ) -> Pieces<'a> {
        Pieces {
            emitter: self,
            deltas: self.capture.deltas(node),
            node_id,
            item,
        }
    }

    /// Tells that the run has ended. Masks its failure; its outputs stay as they are for the caller, and are
    /// masked beside it for everybody else.
    pub(crate) fn end(&self, mut finished: Finished) -> Finished {
        let (usage, execution_time_ms) = (finished.usage.clone(), finished.execution_time_ms);
        self.hand_on(match &mut finished.outcome {
            Outcome::Completed { outputs } => {
                let masked = self.capture.hides();
                let masked = masked.then(|| Arc::new(self.capture.masked_fields(outputs)));
                finished.masked_outputs.clone_from(&masked);
                EventKind::RunCompleted {
                    outputs: masked.unwrap_or_else(|| outputs.clone()),
                    usage,
                    execution_time_ms,
                }
            }
            Outcome::Failed(failure) => {
                self.capture.mask_failure(failure);
                EventKind::RunFailed {
                    error: failure.message.clone(),
                    problem: failure.problem(),
                    usage,
                    execution_time_ms,
                }
            }
            Outcome::Cancelled => EventKind::RunCancelled { execution_time_ms },
        });
        finished
    }

    /// Id of the last event.
    pub(crate) fn last(&self) -> u64 {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers, dates and hands on an event that holds nothing sensitive.
    fn hand_on(&self, kind: EventKind) {
        // Held while the observer is told, so that it sees ids in order whoever emits. An observer
        // that panicked leaves the number as it should be.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let id = if matches!(kind, EventKind::LlmDelta { .. }) {
            0
        } else {
            *last += 1;
            *last
        };
        self.observer.observe(&RunEvent {
            id,
            at: self.host.now(),
            kind,
        });
    }
}

/// Masks what is sensitive in an event, wherever an event can hold something of a run's data.
fn mask(capture: &Capture, kind: &mut EventKind) {
    match kind {
        EventKind::LlmDelta { text, .. }
        | EventKind::NodeRetried { reason: text, .. }
        | EventKind::NodeWarning { message: text, .. }
        | EventKind::NodeFailed { error: text, .. } => capture.mask_text(text),
        EventKind::NodeCompleted {
            outputs, sealed, ..
        } => {
            if let Some(masked) = capture.masked_outputs(outputs) {
                *sealed = Some(mem::replace(outputs, Arc::new(masked)));
            }
        }
        // Names and measures; the ends of a run are made of masked parts, by `end`.
        EventKind::RunStarted { .. }
        | EventKind::NodeStarted { .. }
        | EventKind::GateFailed { .. }
        | EventKind::RunCompleted { .. }
        | EventKind::RunFailed { .. }
        | EventKind::RunCancelled { .. } => {}
    }
}

/// The pieces of one answer on their way to the observer. A value may be spread over several of them, so they
/// are masked together.
pub(crate) struct Pieces<'a> {
    emitter: &'a Emitter<'a>,
    deltas: Deltas<'a>,
    node_id: &'a Arc<str>,
    item: Option<usize>,
}

impl Pieces<'_> {
    /// A piece has come.
    pub(crate) fn push(&self, piece: String) {
        self.tell(self.deltas.push(piece));
    }

    /// The last has come.
    pub(crate) fn finish(&self) {
        self.tell(self.deltas.finish());
    }

    fn tell(&self, text: Option<String>) {
        if let Some(text) = text {
            self.emitter.hand_on(EventKind::LlmDelta {
                node: self.node_id.clone(),
                item: self.item,
                text,
            });
        }
    }
}
