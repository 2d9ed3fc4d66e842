//! The two traits everything else implements or uses.

use std::sync::Arc;

use async_trait::async_trait;

use crate::Error;
use crate::chat::{ChatReply, ChatRequest, Delta};

/// Which model a node wants; unset parts take the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ModelSpec {
    /// `openai`, `anthropic`, `google`, `ollama`, `offline`.
    pub provider: Option<String>,
    /// As the provider names it.
    pub model: Option<String>,
    /// Base address of the API.
    pub api_base: Option<String>,
    /// Name of the environment variable that holds the key.
    pub api_key_env: Option<String>,
}

/// A model that can be asked.
#[async_trait]
pub trait ChatModel: Send + Sync + std::fmt::Debug {
    /// `provider/model`, for people and telemetry.
    fn name(&self) -> &str;

    /// Asks once: no retry. Dropping the future aborts the HTTP call. `on_delta` sees text as it
    /// arrives when `request.stream` is set.
    async fn chat(&self, request: &ChatRequest, on_delta: &(dyn Fn(Delta) + Send + Sync)) -> Result<ChatReply, Error>;
}

/// Finds models. Implementations: the real registry, offline, scripted replies, cassettes.
pub trait Models: Send + Sync + std::fmt::Debug {
    /// The model for a spec, or what is missing to reach it (`ErrorKind::Config`). Does no I/O.
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error>;

    /// Replies must be taken one at a time, in order (scripted ones): fan-outs run one item after the other.
    fn is_sequential(&self) -> bool {
        false
    }
}
