//! Which model is asked, and how.

use super::servers::FromEnvironment;

/// Model settings with the defaults not yet applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LlmSettings {
    /// One of [`PROVIDERS`].
    pub provider: Option<String>,
    /// A provider prefix is already stripped.
    pub model: Option<String>,
    /// From 0 to 2; above 1 only with a provider that takes it.
    pub temperature: Option<f64>,
    /// The most tokens of an answer, above 0.
    pub max_tokens: Option<u32>,
    /// Base address of the API.
    pub api_base: Option<String>,
    /// Name of the environment variable that holds the key.
    pub api_key_env: Option<String>,
    /// Further ways to sample; not sent yet (see
    /// [`Workflow::unsupported`](super::Workflow::unsupported)), as all below.
    pub sampling: Sampling,
    /// Sent with each request.
    pub extra_headers: Option<Vec<(String, FromEnvironment)>>,
    /// Asked one after the other when the attempts at the model before are used up.
    pub fallback: Option<Vec<FallbackModel>>,
    /// Failures after which the next model is asked; `None` for all but authentication and quota.
    pub fallback_on: Option<Vec<FallbackReason>>,
}

/// Ways to sample beside the temperature.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// From 0 to 1.
    pub top_p: Option<f64>,
    /// Makes answers repeatable.
    pub seed: Option<u64>,
    /// Texts that end an answer.
    pub stop: Option<Vec<String>>,
    /// `none`, `minimal`, `low`, `medium` or `high`.
    pub reasoning_effort: Option<String>,
    /// Tokens of context that Ollama sets aside, above 0.
    pub num_ctx: Option<u32>,
}

impl Sampling {
    /// What is missing here taken from `other`.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            top_p: self.top_p.or(other.top_p),
            seed: self.seed.or(other.seed),
            stop: self.stop.or_else(|| other.stop.clone()),
            reasoning_effort: self
                .reasoning_effort
                .or_else(|| other.reasoning_effort.clone()),
            num_ctx: self.num_ctx.or(other.num_ctx),
        }
    }
}

/// A model of `fallback`. Without a provider it is one of the first model's provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FallbackModel {
    /// One of [`PROVIDERS`].
    pub provider: Option<String>,
    /// A provider prefix is already stripped.
    pub model: Option<String>,
    /// Base address of the API.
    pub api_base: Option<String>,
    /// Name of the environment variable that holds the key.
    pub api_key_env: Option<String>,
}

/// A failure of a model after which the next one may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackReason {
    /// Too many requests.
    RateLimit,
    /// The server has too much to do.
    Overloaded,
    /// No answer in time.
    Timeout,
    /// No connection.
    Network,
    /// There is no such model.
    NotFound,
    /// The key is not accepted.
    Authentication,
    /// What the account may spend is used up.
    Quota,
}

/// Whether every shell accepts the text as the name of an environment variable. Other texts could
/// be commands once they are written into a file that a shell reads.
pub fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Providers a file may name; `offline` is the built-in model that needs no network. The client of
/// each is in the crate `llm`; a test in `deploy` holds the two lists together.
pub const PROVIDERS: &[&str] = &["openai", "anthropic", "google", "ollama", "offline"];
