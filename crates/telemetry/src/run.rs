//! Observes one run: its metrics, its spans, and its MLflow run.

mod calls;
mod figures;
mod ids;
mod messages;
mod spans;

use std::sync::Arc;

use engine::ModelError;
use engine::capture::Capture;
use engine::chat::{ChatReply, ChatRequest};
use engine::event::RunEvent;
use engine::host::Host;
use engine::observer::Observer;
use engine::observer::{Call, Step};
use engine::outcome::Finished;
use engine::trace::TraceParent;
use engine::watch::RunObserver;

use crate::metrics::{Metrics, WorkflowMetrics};

#[cfg(test)]
pub(crate) use ids::scatter;
pub(crate) use ids::{Ids, span_id};
pub(crate) use spans::Spans;

/// Observes one attempt at a run.
pub(crate) struct RunWatch {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) counted: Arc<WorkflowMetrics>,
    pub(crate) host: Arc<dyn Host>,
    /// `None` if the run is neither traced nor tracked.
    pub(crate) spans: Option<Spans>,
}

impl Observer for RunWatch {
    fn begins(&self, capture: &Arc<Capture>) {
        if let Some(spans) = &self.spans {
            spans.begins(capture);
        }
    }

    fn observe(&self, event: &RunEvent) {
        self.counted.event(&self.metrics, event);
        if let Some(spans) = &self.spans {
            spans.event(event);
        }
    }

    fn call_begins(&self, call: &Call<'_>) -> Option<TraceParent> {
        self.spans.as_ref().map(|spans| spans.call_begins(call))
    }

    fn call_ended(
        &self,
        call: &Call<'_>,
        request: &ChatRequest,
        result: Result<&ChatReply, &ModelError>,
    ) {
        let took = self.host.elapsed().saturating_sub(call.began);
        self.counted.call_ended(&self.metrics, call, result, took);
        if let Some(spans) = &self.spans {
            spans.call_ended(call, request, result, took);
        }
    }

    fn step_ended(&self, step: &Step<'_>) {
        if let Some(spans) = &self.spans {
            spans.step_ended(step);
        }
    }

    fn wants_steps(&self) -> bool {
        self.spans.as_ref().is_some_and(Spans::wants_steps)
    }
}

impl RunObserver for RunWatch {
    fn handed_over(&self) {
        if let Some(spans) = &self.spans {
            spans.handed_over();
        }
    }

    fn dismissed(&self) {
        if let Some(mlflow) = self.spans.as_ref().and_then(|spans| spans.mlflow.as_ref()) {
            mlflow.dismissed();
        }
    }

    fn ended(&self, finished: &Finished) {
        self.counted.ended(finished);
        if let Some(spans) = &self.spans {
            spans.ended(finished);
        }
    }
}
