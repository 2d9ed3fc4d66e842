//! What one run is given: its surroundings, its limits, and where it begins.

use std::sync::Arc;
use std::time::Duration;

use lang::workflow::{Budget, CaptureLevel, InitialState};

use crate::host::Host;
use crate::observer::Observer;
use crate::progress::{Checkpoint, Progress};
use crate::quota::Quota;

/// What a run needs from outside.
pub struct Environment {
    /// Models by spec.
    pub models: Arc<dyn llm::model::Models>,
    /// Clock, ids, randomness.
    pub host: Arc<dyn Host>,
    /// Told of every event.
    pub observer: Arc<dyn Observer>,
    /// Makes progress durable.
    pub checkpoint: Arc<dyn Checkpoint>,
}

/// What one run may do.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time left for the whole run, from now.
    pub deadline: Option<Duration>,
    /// Over the workflow's own, whichever is tighter.
    pub budget: Budget,
    /// Of whoever pays for it, over all their runs.
    pub quota: Option<Arc<dyn Quota>>,
    /// Fan-out items in flight at once; models that are sequential get one at a time.
    pub fan_out: usize,
    /// Ask models to stream, so that `llm_delta` events come.
    pub stream: bool,
    /// Most that telemetry may keep, whatever the workflow allows.
    pub capture: CaptureLevel,
    /// The process of an earlier attempt at the run was gone at once: what the calls took that it had under
    /// way is not booked yet.
    pub was_interrupted: bool,
}

impl Default for Limits {
    /// No deadline, no budget beyond the workflow's own, no quota, 16 items at once, no streaming, everything captured.
    fn default() -> Self {
        Self {
            deadline: None,
            budget: Budget::default(),
            quota: None,
            fan_out: 16,
            stream: false,
            capture: CaptureLevel::Full,
            was_interrupted: false,
        }
    }
}

/// Where a run begins.
#[derive(Debug, Clone)]
pub enum Start {
    /// At START, with accepted inputs.
    Fresh(InitialState),
    /// Where an earlier attempt stopped.
    Resume(Box<Progress>),
}
