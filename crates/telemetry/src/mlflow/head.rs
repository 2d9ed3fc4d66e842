//! The messages about a run for MLflow, from the run's own task to the exporter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::names;
use crate::capture::Captured;
use crate::queue::{BytePermit, DropCounter, EntryPermit, Queue};
use crate::span::Span;

/// Which artifacts a run stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ArtifactLevel {
    /// Inputs, and outputs or error.
    Minimal,
    /// Also each node's prompts and replies.
    #[default]
    Standard,
    /// Also the state after each step.
    Full,
}

impl ArtifactLevel {
    /// The level with that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "minimal" => Some(Self::Minimal),
            "standard" => Some(Self::Standard),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
}

/// What is known when a run begins.
#[derive(Debug)]
pub(crate) struct RunHead {
    pub(crate) job: Uuid,
    pub(crate) workflow: String,
    pub(crate) version: Option<String>,
    pub(crate) definition_hash: String,
    pub(crate) experiment: String,
    pub(crate) created_at: Timestamp,
    pub(crate) is_async: bool,
    pub(crate) resumed: bool,
    /// This and the inputs are filled in once it is known what may be shown.
    pub(crate) params: Vec<(String, Captured)>,
    pub(crate) inputs: Option<Captured>,
}

impl RunHead {
    /// `sync_<8 hex>`, with the last digits of the job's id, since the first ones are a timestamp.
    pub(crate) fn name(&self, is_async: bool) -> String {
        let kind = if is_async { "async" } else { "sync" };
        let [.., a, b, c, d] = *self.job.as_bytes();
        format!("{kind}_{:08x}", u32::from_be_bytes([a, b, c, d]))
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) at: Timestamp,
    pub(crate) status: EndStatus,
    pub(crate) outputs: Option<Captured>,
    pub(crate) metrics: Vec<(String, f64)>,
}

/// The final status in MLflow's terms.
#[derive(Debug)]
pub(crate) enum EndStatus {
    Finished,
    Failed {
        class: String,
        sentence: Captured,
        node: Option<String>,
    },
    Killed,
}

/// A file among a run's artifacts.
#[derive(Debug)]
pub(crate) struct Artifact {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Artifact {
    /// JSON made of captured contents.
    pub(crate) fn json(path: &str, value: &Value) -> Self {
        Self {
            path: names::path(path),
            text: format!("{value:#}"),
        }
    }

    /// A file with captured content.
    pub(crate) fn captured(path: &str, content: Captured) -> Self {
        Self {
            path: names::path(path),
            text: content.into_string(),
        }
    }
}

/// A message to the exporter.
#[derive(Debug)]
pub(crate) enum Message {
    Begun(Arc<RunHead>, EntryPermit),
    Span(Uuid, Box<Span>, BytePermit),
    Artifact(Uuid, Artifact, BytePermit),
    HandedOver(Uuid),
    Ended(Uuid, Box<End>),
    /// The run stopped here without an end.
    Abandoned(Uuid),
    /// The run never came into being.
    Dismissed(Uuid),
}

/// Sends one run's messages to the exporter.
#[derive(Debug)]
pub(crate) struct RunHandle {
    job: Uuid,
    level: ArtifactLevel,
    ended: AtomicBool,
    /// The head until it is sent, with its permit.
    head: Mutex<Option<(RunHead, EntryPermit)>>,
    queue: Arc<Queue<Message>>,
    /// Counts the parts of runs that did not fit.
    dropped_parts: Arc<DropCounter>,
}

impl RunHandle {
    /// A handle for a run that is about to begin. `None`, which is counted, if the exporter cannot
    /// keep up.
    pub(crate) fn reserve(
        queue: &Arc<Queue<Message>>,
        dropped_parts: &Arc<DropCounter>,
        level: ArtifactLevel,
        head: impl FnOnce() -> RunHead,
    ) -> Option<Self> {
        let Some(permit) = queue.budget.take_entry() else {
            queue.dropped.count();
            return None;
        };
        let head = head();
        Some(Self {
            job: head.job,
            level,
            ended: AtomicBool::new(false),
            head: Mutex::new(Some((head, permit))),
            queue: queue.clone(),
            dropped_parts: dropped_parts.clone(),
        })
    }

    /// Announces the run, once.
    pub(crate) fn begin(&self, complete: impl FnOnce(&mut RunHead)) {
        let head = self
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((mut head, permit)) = head {
            complete(&mut head);
            self.queue.send(Message::Begun(Arc::new(head), permit));
        }
    }

    pub(crate) fn level(&self) -> ArtifactLevel {
        self.level
    }

    pub(crate) fn span(&self, span: Span) {
        match self.queue.budget.take_bytes(span.bytes()) {
            Some(permit) => self
                .queue
                .send(Message::Span(self.job, Box::new(span), permit)),
            None => self.dropped_parts.count(),
        }
    }

    pub(crate) fn artifact(&self, artifact: Artifact) {
        match self.queue.budget.take_bytes(64 + artifact.text.len()) {
            Some(permit) => self
                .queue
                .send(Message::Artifact(self.job, artifact, permit)),
            None => self.dropped_parts.count(),
        }
    }

    pub(crate) fn handed_over(&self) {
        self.queue.send(Message::HandedOver(self.job));
    }

    pub(crate) fn dismissed(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.queue.send(Message::Dismissed(self.job));
    }

    pub(crate) fn ended(&self, end: End) {
        self.ended.store(true, Ordering::Relaxed);
        self.queue.send(Message::Ended(self.job, Box::new(end)));
    }
}

impl Drop for RunHandle {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            self.queue.send(Message::Abandoned(self.job));
        }
    }
}
