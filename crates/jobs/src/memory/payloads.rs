//! The parts of a job that can be large, while it has not ended.

use std::collections::VecDeque;

use crate::job::Workload;
use crate::json::Json;
use crate::store::StoredEvent;

/// The parts of a job that can be large.
#[derive(Debug)]
pub(super) struct Payloads {
    pub(super) workload: Workload,
    pub(super) metadata: Option<Json>,
    pub(super) outputs: Option<Json>,
    pub(super) problem: Option<Json>,
    pub(super) usage: Option<Json>,
    pub(super) events: VecDeque<StoredEvent>,
}

impl Payloads {
    /// The payloads of a new job.
    pub(super) fn of_workload(workload: Workload, metadata: Option<Json>) -> Self {
        Self {
            workload,
            metadata,
            outputs: None,
            problem: None,
            usage: None,
            events: VecDeque::new(),
        }
    }

    pub(super) fn slot(&self, slot: Slot) -> Option<&Json> {
        match slot {
            Slot::Inputs => Some(&self.workload.inputs),
            Slot::Options => self.workload.options.as_ref(),
            Slot::Progress => self.workload.progress.as_ref(),
            Slot::Metadata => self.metadata.as_ref(),
            Slot::Outputs => self.outputs.as_ref(),
            Slot::Problem => self.problem.as_ref(),
            Slot::Usage => self.usage.as_ref(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    Inputs,
    Options,
    Progress,
    Metadata,
    Outputs,
    Problem,
    Usage,
}

impl Slot {
    pub(super) const ALL: [Self; 7] = [
        Self::Inputs,
        Self::Options,
        Self::Progress,
        Self::Metadata,
        Self::Outputs,
        Self::Problem,
        Self::Usage,
    ];
}
