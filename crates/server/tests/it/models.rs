//! A model that plays a part.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use llm::chat::{ChatReply, ChatRequest, Content, Delta, FinishReason, Usage};
use llm::error::{Error, ErrorKind};
use llm::model::{ChatModel, ModelSpec, Models};
use serde_json::json;
use tokio::sync::Semaphore;

/// What the model does when asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// Answers `result` = `R:` and the prompt at once.
    Echo,
    /// The same, but only once it is let go.
    Gated,
    /// Fails.
    Fail(ErrorKind),
    /// A bug.
    Panic,
    /// Is not set up.
    Missing,
}

/// Answers every spec; counts its calls.
#[derive(Debug, Clone)]
pub(crate) struct Actor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    part: Part,
    calls: AtomicUsize,
    gate: Semaphore,
}

impl Actor {
    pub(crate) fn new(part: Part) -> Self {
        Self(Arc::new(Inner {
            part,
            calls: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        }))
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Lets this many gated calls go.
    pub(crate) fn let_go(&self, calls: usize) {
        self.0.gate.add_permits(calls);
    }
}

impl Models for Actor {
    fn find(&self, _spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error> {
        match self.0.part {
            Part::Missing => Err(Error::new(ErrorKind::Config, "OPENAI_API_KEY is not set")),
            _ => Ok(Arc::new(self.clone())),
        }
    }
}

#[async_trait]
impl ChatModel for Actor {
    fn name(&self) -> &'static str {
        "test/actor"
    }

    fn cost_usd(&self, _input_tokens: u64, output_tokens: u64) -> Option<f64> {
        Some(if output_tokens == 0 { 0.0 } else { 0.25 })
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, Error> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        match self.0.part {
            Part::Echo | Part::Missing => {}
            Part::Gated => self
                .0
                .gate
                .acquire()
                .await
                .expect("the gate is never closed")
                .forget(),
            Part::Fail(kind) => return Err(Error::new(kind, "the model is out of order")),
            Part::Panic => panic!("the model has a bug"),
        }
        let prompt = request.messages.last().expect("a prompt").text();
        let answer = format!("R:{prompt}");
        if request.stream {
            on_delta(Delta::Text(answer.clone()));
        }
        Ok(ChatReply {
            content: Content::Json(json!({ "result": answer })),
            usage: Usage {
                input_tokens: 3,
                cached_tokens: 0,
                output_tokens: 2,
                is_estimated: false,
            },
            finish: FinishReason::Stop,
            model: "actor".into(),
            provider: "test".into(),
            cost_usd: Some(0.25),
            calls: Vec::new(),
            opaque: Vec::new(),
        })
    }
}
