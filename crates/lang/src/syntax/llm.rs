//! `llm`: model settings, on a node and under `config`.

use super::grammar::{Shape, Table, key};
use super::view::View;
use crate::workflow::{LlmSettings, PROVIDERS};

pub(crate) static LLM: Table = Table::new(
    "llm",
    &[
        key("provider", Shape::Word(PROVIDERS), "whose API is called"),
        key("model", Shape::Name, "the model's name at that provider"),
        key(
            "temperature",
            Shape::Float(0.0, 1.0),
            "how freely the model chooses, 0 to 1",
        ),
        key(
            "max_tokens",
            Shape::Int(1, u32::MAX as i64),
            "most tokens of an answer",
        ),
        key(
            "api_base",
            Shape::Text,
            "base address of the API, for compatible and local servers",
        ),
        key(
            "api_key_env",
            Shape::Variable,
            "name of the environment variable that holds the key",
        ),
    ],
)
.ignored(&[
    (
        "api_key",
        "remove it; keys are read from the environment (`api_key_env` names the variable)",
    ),
    (
        "providers",
        "remove it; set `provider`, `model` and `api_base` directly",
    ),
    ("base_url", "write `api_base`"),
    ("api_url", "write `api_base`"),
    ("endpoint", "write `api_base`"),
    ("host", "write `api_base`"),
    ("url", "write `api_base`"),
    ("name", "write `model`"),
    ("model_name", "write `model`"),
    ("max_output_tokens", "write `max_tokens`"),
    ("max_completion_tokens", "write `max_tokens`"),
    ("num_predict", "write `max_tokens`"),
    ("timeout", TIMEOUT),
    ("timeout_seconds", TIMEOUT),
    ("request_timeout", TIMEOUT),
    ("max_retries", RETRIES),
    ("num_retries", RETRIES),
    ("retries", RETRIES),
    ("system", SYSTEM),
    ("system_prompt", SYSTEM),
    (
        "top_p",
        "remove it; of the ways to sample, `temperature` can be set",
    ),
    (
        "top_k",
        "remove it; of the ways to sample, `temperature` can be set",
    ),
    (
        "stream",
        "remove it; the caller decides whether a run is streamed",
    ),
]);

/// Advice for settings that people look for under `llm` or on a node.
pub(crate) const TIMEOUT: &str =
    "set `config.execution.timeout`, in seconds; it holds for all nodes";
pub(crate) const RETRIES: &str = "set `config.execution.max_retries`; it holds for all nodes";
pub(crate) const SYSTEM: &str = "put it at the beginning of `prompt`";
/// Advice for settings of the model that are not under `llm`.
pub(crate) const UNDER_LLM: &str = "move it under `llm`";

/// The settings a section gives.
pub(crate) fn read(view: &View<'_>) -> LlmSettings {
    let provider = view.string("provider");
    // An empty text counts as absent, as when a template left it out.
    let trimmed = |name: &str| {
        let text = view.string(name)?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    LlmSettings {
        model: trimmed("model"),
        temperature: view.float("temperature"),
        max_tokens: view
            .int("max_tokens")
            .and_then(|tokens| u32::try_from(tokens).ok()),
        api_base: trimmed("api_base"),
        api_key_env: trimmed("api_key_env"),
        provider,
    }
}

/// A node's settings over the global ones, key by key; a prefix of the model's name that names the
/// provider is dropped.
pub(crate) fn merge(node: LlmSettings, global: &LlmSettings) -> LlmSettings {
    let mut merged = LlmSettings {
        provider: node.provider.or_else(|| global.provider.clone()),
        model: node.model.or_else(|| global.model.clone()),
        temperature: node.temperature.or(global.temperature),
        max_tokens: node.max_tokens.or(global.max_tokens),
        api_base: node.api_base.or_else(|| global.api_base.clone()),
        api_key_env: node.api_key_env.or_else(|| global.api_key_env.clone()),
    };
    strip_prefix(&mut merged);
    merged
}

/// Prefixes that documents put before a model's name, and the provider each names.
const PREFIXES: &[(&str, &str)] = &[
    ("openai/", "openai"),
    ("anthropic/", "anthropic"),
    ("google/", "google"),
    ("gemini/", "google"),
    ("ollama/", "ollama"),
    ("ollama_chat/", "ollama"),
    ("offline/", "offline"),
];

fn strip_prefix(settings: &mut LlmSettings) {
    let Some(model) = &settings.model else { return };
    let found = PREFIXES
        .iter()
        .find_map(|(prefix, provider)| Some((model.strip_prefix(prefix)?, *provider)));
    if let Some((rest, named)) = found
        && settings
            .provider
            .as_deref()
            .is_none_or(|provider| provider == named)
        && !rest.is_empty()
    {
        settings.provider = Some(named.to_owned());
        settings.model = Some(rest.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(provider: Option<&str>, model: &str, expected: (Option<&str>, &str)) {
        let node = LlmSettings {
            provider: provider.map(str::to_owned),
            model: Some(model.to_owned()),
            ..LlmSettings::default()
        };
        let merged = merge(node, &LlmSettings::default());
        assert_eq!(
            (merged.provider.as_deref(), merged.model.as_deref()),
            (expected.0, Some(expected.1))
        );
    }

    #[test]
    fn every_provider_has_its_prefix() {
        for provider in PROVIDERS {
            let prefix = format!("{provider}/");
            assert!(PREFIXES.contains(&(&*prefix, *provider)), "{provider}");
        }
    }

    #[test]
    fn a_prefix_that_names_the_provider_is_dropped() {
        check(
            Some("ollama"),
            "ollama_chat/llama2",
            (Some("ollama"), "llama2"),
        );
        check(
            None,
            "gemini/gemini-2.5-flash",
            (Some("google"), "gemini-2.5-flash"),
        );
        check(
            Some("openai"),
            "anthropic/claude",
            (Some("openai"), "anthropic/claude"),
        );
        check(Some("openai"), "meta/llama", (Some("openai"), "meta/llama"));
        check(Some("openai"), "openai/", (Some("openai"), "openai/"));
    }

    #[test]
    fn node_settings_win_key_by_key() {
        let global = LlmSettings {
            provider: Some("openai".into()),
            temperature: Some(0.2),
            api_base: Some("http://localhost:8080/v1".into()),
            ..LlmSettings::default()
        };
        let node = LlmSettings {
            temperature: Some(0.9),
            ..LlmSettings::default()
        };
        let merged = merge(node, &global);
        assert_eq!(merged.temperature, Some(0.9));
        assert_eq!(merged.provider, global.provider);
        assert_eq!(merged.api_base, global.api_base);
    }
}
