//! What a run is given: its environment, its limits, and where it begins.

use std::sync::Arc;
use std::time::Duration;

use lang::workflow::{Budget, CaptureLevel, InitialState};

use crate::host::Host;
use crate::observer::Observer;
use crate::progress::{Checkpoint, Progress};
use crate::quota::Quota;

/// What a run uses of its surroundings.
pub struct Environment {
    /// Finds models by their specification.
    pub models: Arc<dyn llm::model::Models>,
    /// Clock, ids and randomness.
    pub host: Arc<dyn Host>,
    /// Receives every event.
    pub observer: Arc<dyn Observer>,
    /// Saves progress.
    pub checkpoint: Arc<dyn Checkpoint>,
}

/// Limits and settings of one run.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time for the whole run, from now on.
    pub deadline: Option<Duration>,
    /// Applies together with the workflow's own budget: the tighter of each limit counts.
    pub budget: Budget,
    /// The caller's quota over all of its runs.
    pub quota: Option<Arc<dyn Quota>>,
    /// Items of a fan-out in flight at once. Sequential models get one at a time.
    pub fan_out: usize,
    /// Ask models to stream their answers, for `llm_delta` events.
    pub stream: bool,
    /// The most content that telemetry may keep, whatever the workflow allows.
    pub capture: CaptureLevel,
    /// The process of an earlier attempt died: the calls that were in flight then are not booked
    /// yet.
    pub was_interrupted: bool,
}

impl Default for Limits {
    /// No deadline, only the workflow's own budget, no quota, 16 items at once, no streaming, full
    /// capture.
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
    /// At START, with the state that accepted inputs make.
    Fresh(InitialState),
    /// Where an earlier attempt at the run stopped.
    Resume(Box<Progress>),
}
