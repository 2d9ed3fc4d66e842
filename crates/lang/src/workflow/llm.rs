//! Which model is asked, and how.

/// Model settings with the defaults not yet applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LlmSettings {
    /// One of [`PROVIDERS`].
    pub provider: Option<String>,
    /// A provider prefix is already stripped.
    pub model: Option<String>,
    /// From 0 to 1.
    pub temperature: Option<f64>,
    /// The most tokens of an answer, above 0.
    pub max_tokens: Option<u32>,
    /// Base address of the API.
    pub api_base: Option<String>,
    /// Name of the environment variable that holds the key.
    pub api_key_env: Option<String>,
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
