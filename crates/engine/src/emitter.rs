//! Where events and the end of a run leave the engine: the one place that masks sensitive values in
//! them.
//!
//! The code that makes an event or a failure does not mask it. Model calls are not events: an
//! observer sees the whole request and reply, and masks what it keeps with the run's [`Capture`].

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use lang::workflow::NodeId;

use crate::capture::{Capture, Deltas};
use crate::event::{EventKind, RunEvent};
use crate::host::Host;
use crate::observer::Observer;
use crate::outcome::{Finished, Outcome};

/// Masks, numbers and dates a run's events, and passes them to the observer one at a time.
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

    /// Tells the observer what happened during the run.
    pub(crate) fn emit(&self, mut kind: EventKind) {
        if self.capture.hides() {
            mask(self.capture, &mut kind);
        }
        self.send(kind);
    }

    /// A stream of `llm_delta` events for one answer.
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

    /// Tells the observer that the run has ended. The failure is masked in place. The outputs stay
    /// as they are, for the caller; a masked copy is added for everybody else.
    pub(crate) fn end(&self, mut finished: Finished) -> Finished {
        let (usage, execution_time_ms) = (finished.usage.clone(), finished.execution_time_ms);
        self.send(match &mut finished.outcome {
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

    /// The id of the last event.
    pub(crate) fn last(&self) -> u64 {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers and dates an event that holds nothing sensitive, and passes it to the observer.
    fn send(&self, kind: EventKind) {
        // Held while the observer is called, so that it sees ids in order even when several
        // executions emit at once. The number stays right if an observer panics.
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

/// Masks the parts of an event that can hold a run's data.
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
        // These hold names and measurements. `end` makes the last event from masked parts.
        EventKind::RunStarted { .. }
        | EventKind::NodeStarted { .. }
        | EventKind::GateFailed { .. }
        | EventKind::RunCompleted { .. }
        | EventKind::RunFailed { .. }
        | EventKind::RunCancelled { .. } => {}
    }
}

/// The pieces of one answer as they arrive. A sensitive value may be spread over several pieces, so
/// they are masked as one text.
pub(crate) struct Pieces<'a> {
    emitter: &'a Emitter<'a>,
    deltas: Deltas<'a>,
    node_id: &'a Arc<str>,
    item: Option<usize>,
}

impl Pieces<'_> {
    /// Tells the observer of the next piece.
    pub(crate) fn push(&self, piece: String) {
        self.tell(self.deltas.push(piece));
    }

    /// Tells the observer of the text that was held back while it could still be part of a
    /// sensitive value.
    pub(crate) fn finish(&self) {
        self.tell(self.deltas.finish());
    }

    fn tell(&self, text: Option<String>) {
        if let Some(text) = text {
            self.emitter.send(EventKind::LlmDelta {
                node: self.node_id.clone(),
                item: self.item,
                text,
            });
        }
    }
}
