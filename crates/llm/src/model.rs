//! The two traits of models, and the choice of a model.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::Error;
use crate::chat::{ChatReply, ChatRequest, Delta, ToolDefinition};
use crate::error::ErrorKind;
use crate::tokens::{LARGEST_ENVELOPE, UsageCeiling};

/// The providers there are.
pub const PROVIDERS: &[&str] = &["openai", "anthropic", "google", "ollama", "offline"];

/// The provider if none is named.
pub const DEFAULT_PROVIDER: &str = "google";

/// Default of the longest wait that a provider may ask for.
pub const DEFAULT_MAX_RETRY_AFTER: Duration = Duration::from_secs(10 * 60);

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

impl ModelSpec {
    /// The provider, the default one where none is named.
    pub fn provider(&self) -> &str {
        self.provider.as_deref().unwrap_or(DEFAULT_PROVIDER)
    }

    /// Reads `provider/model` (the model's name may hold slashes) or a provider alone, which takes
    /// its default model. The error (`ErrorKind::Config`) lists the providers.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (provider, model) = match text.trim().split_once('/') {
            Some((provider, model)) => (provider.trim(), Some(model.trim())),
            None => (text.trim(), None),
        };
        if model == Some("") {
            return Err(Error::new(
                ErrorKind::Config,
                format!("`{text}` names no model; write `{provider}/MODEL`"),
            ));
        }
        if !PROVIDERS.contains(&provider) {
            let message = format!(
                "`{text}` does not start with a provider; write `PROVIDER/MODEL` with one of {}, such as `openai/gpt-6-luna`",
                PROVIDERS.join(", ")
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Self {
            provider: Some(provider.to_owned()),
            model: model.map(str::to_owned),
            ..Self::default()
        })
    }
}

/// A model that can be asked.
#[async_trait]
pub trait ChatModel: Send + Sync + std::fmt::Debug {
    /// `provider/model`, for people and telemetry.
    fn name(&self) -> &str;

    /// The most that a call of that many tokens costs, in US dollars; `None` if the model has no
    /// known price.
    fn cost_usd(&self, _input_tokens: u64, _output_tokens: u64) -> Option<f64> {
        None
    }

    /// The most tokens that a call can take, before it is made.
    fn usage_ceiling(&self, request: &ChatRequest) -> UsageCeiling {
        UsageCeiling::of(request, LARGEST_ENVELOPE, request.max_tokens)
    }

    /// The names of tools that are known to be refused by the provider, each with the reason.
    /// Does no I/O.
    fn check_tools(&self, _tools: &[ToolDefinition]) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Makes one attempt, without retries. Dropping the future aborts the HTTP call. `on_delta`
    /// gets text as it arrives if `request.stream` is set.
    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, Error>;
}

/// Finds models. Implementations: the real registry, offline, scripted replies, cassettes.
pub trait Models: Send + Sync + std::fmt::Debug {
    /// The model for a spec, or what is missing to reach it (`ErrorKind::Config`). Does no I/O.
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error>;

    /// Whether replies must be taken one at a time, in order, as scripted ones must: then fan-outs
    /// run one item after the other.
    fn is_sequential(&self) -> bool {
        false
    }

    /// Version of the price table of the replies' costs; `None` if there is none.
    fn price_table(&self) -> Option<Arc<str>> {
        None
    }

    /// Longest wait that a provider's `Retry-After` can impose on a run without a deadline.
    fn max_retry_after(&self) -> Duration {
        DEFAULT_MAX_RETRY_AFTER
    }
}

/// One model in place of whatever is asked for: `--model provider/name`.
#[derive(Debug)]
pub struct Override {
    models: Arc<dyn Models>,
    wanted: ModelSpec,
}

impl Override {
    /// Looks `wanted` up in `models` for every spec.
    pub fn new(models: Arc<dyn Models>, wanted: ModelSpec) -> Self {
        Self { models, wanted }
    }
}

impl Models for Override {
    /// A node's address and key belong to the provider that it names, so they apply only if the
    /// wanted model is of that provider.
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error> {
        let has_own_place = spec.api_base.is_some() || spec.api_key_env.is_some();
        if !has_own_place || spec.provider() != self.wanted.provider() {
            return self.models.find(&self.wanted);
        }
        let mut wanted = self.wanted.clone();
        wanted.api_base = wanted.api_base.or_else(|| spec.api_base.clone());
        wanted.api_key_env = wanted.api_key_env.or_else(|| spec.api_key_env.clone());
        self.models.find(&wanted)
    }

    fn is_sequential(&self) -> bool {
        self.models.is_sequential()
    }

    fn price_table(&self) -> Option<Arc<str>> {
        self.models.price_table()
    }

    fn max_retry_after(&self) -> Duration {
        self.models.max_retry_after()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, provider: &str, model: Option<&str>) {
        let spec = ModelSpec::parse(text).unwrap();
        assert_eq!((spec.provider(), spec.model.as_deref()), (provider, model));
    }

    #[test]
    fn provider_and_model() {
        check("openai/gpt-4o-mini", "openai", Some("gpt-4o-mini"));
        check("openai/meta/llama-3", "openai", Some("meta/llama-3"));
        check(" ollama/llama3.2:1b ", "ollama", Some("llama3.2:1b"));
        check("anthropic", "anthropic", None);
        assert_eq!(ModelSpec::default().provider(), "google");
    }

    #[track_caller]
    fn check_refused(text: &str, part: &str) {
        let error = ModelSpec::parse(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(part), "{error}");
    }

    #[test]
    fn what_names_no_provider_is_refused_with_the_list() {
        check_refused("acme/m", "openai, anthropic, google, ollama, offline");
        check_refused(
            "gpt-4o-mini",
            "`gpt-4o-mini` does not start with a provider",
        );
        check_refused("", "does not start with a provider");
        check_refused("openai/", "write `openai/MODEL`");
    }
}
