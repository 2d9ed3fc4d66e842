//! `llm`: model settings, on a node and under `config`.

use super::grammar::{NO_LIMIT, Shape, Table, key};
use super::location::Location;
use super::view::{Item, View};
use crate::workflow::{FallbackModel, FallbackReason, LlmSettings, PROVIDERS, Sampling};

pub(crate) static LLM: Table = Table::new(
    "llm",
    &[
        key("provider", Shape::Word(PROVIDERS), "whose API is called"),
        key("model", Shape::Name, "the model's name at that provider"),
        key(
            "temperature",
            Shape::Float(0.0, 2.0),
            "how freely the model chooses, 0 to 1, with most providers to 2",
        ),
        key(
            "top_p",
            Shape::Float(0.0, 1.0),
            "share of the likeliest tokens that are chosen from",
        ),
        key("seed", Shape::Int(0, NO_LIMIT), "makes answers repeatable"),
        key(
            "stop",
            Shape::Either(&[Shape::Text, Shape::List(&Shape::Text, 1)]),
            "texts that end an answer",
        ),
        key(
            "reasoning_effort",
            Shape::Word(&["none", "minimal", "low", "medium", "high"]),
            "how long the model thinks",
        ),
        key(
            "num_ctx",
            Shape::Int(1, 100_000_000),
            "tokens of context that Ollama sets aside",
        ),
        key(
            "extra_headers",
            Shape::Open("header", &Shape::Text, 0),
            "sent with each request; `${NAME}` stands for a variable of the environment",
        ),
        key(
            "system",
            Shape::Template,
            "instructions that come before the prompt; `system` of a node wins",
        ),
        key(
            "fallback",
            Shape::List(&Shape::Mapping(&FALLBACK), 0),
            "models that are asked when the attempts at those before are used up",
        ),
        key(
            "fallback_on",
            Shape::List(&Shape::Word(REASONS), 1),
            "failures after which the next model is asked",
        )
        .aliases(&["on"])
        .default("[\"rate_limit\", \"overloaded\", \"timeout\", \"network\", \"not_found\"]"),
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
    ("system_prompt", SYSTEM),
    (
        "top_k",
        "remove it; of the ways to sample, `temperature` and `top_p` can be set",
    ),
    (
        "true",
        "write `fallback_on`; YAML reads an unquoted `on` as true",
    ),
    ("headers", "write `extra_headers`"),
    ("fallbacks", "write `fallback`"),
    ("stop_sequences", "write `stop`"),
    (
        "stream",
        "remove it; the caller decides whether a run is streamed",
    ),
]);

static FALLBACK: Table = Table::new(
    "fallback",
    &[
        key("provider", Shape::Word(PROVIDERS), "whose API is called"),
        key("model", Shape::Name, "the model's name at that provider"),
        key("api_base", Shape::Text, "base address of the API"),
        key(
            "api_key_env",
            Shape::Variable,
            "name of the environment variable that holds the key",
        ),
    ],
);

/// What `fallback_on` may list.
const REASONS: &[&str] = &[
    "rate_limit",
    "overloaded",
    "timeout",
    "network",
    "not_found",
    "authentication",
    "quota",
];

/// The keys of `llm` that no request carries yet.
pub(crate) const NOT_SENT: &[&str] = &[
    "top_p",
    "seed",
    "stop",
    "reasoning_effort",
    "num_ctx",
    "extra_headers",
    "system",
    "fallback",
];

/// Advice for settings that people look for under `llm` or on a node.
pub(crate) const TIMEOUT: &str =
    "set `config.execution.timeout`, in seconds; it holds for all nodes";
pub(crate) const RETRIES: &str = "set `config.execution.max_retries`; it holds for all nodes";
pub(crate) const SYSTEM: &str = "put it at the beginning of `prompt`";
/// Advice for settings of the model that are not under `llm`.
pub(crate) const UNDER_LLM: &str = "move it under `llm`";

/// The settings a section gives, without headers and system.
pub(crate) fn read(view: &View<'_>) -> LlmSettings {
    let small = |name: &str| view.int(name).and_then(|tokens| u32::try_from(tokens).ok());
    LlmSettings {
        provider: view.string("provider"),
        model: trimmed(view, "model"),
        temperature: view.float("temperature"),
        max_tokens: small("max_tokens"),
        api_base: trimmed(view, "api_base"),
        api_key_env: trimmed(view, "api_key_env"),
        sampling: Sampling {
            top_p: view.float("top_p"),
            seed: view.int("seed").and_then(|seed| u64::try_from(seed).ok()),
            stop: stop(view),
            reasoning_effort: view.string("reasoning_effort"),
            num_ctx: small("num_ctx"),
        },
        extra_headers: None,
        fallback: view.list("fallback").map(|items| {
            let models = items.iter().filter_map(Fallback::read);
            models.map(|fallback| fallback.model).collect()
        }),
        fallback_on: view.list("fallback_on").map(|items| {
            let words = items.iter().filter_map(Item::text);
            words.filter_map(|word| reason(&word.value)).collect()
        }),
    }
}

/// An empty text counts as absent, as when a template left it out.
fn trimmed(view: &View<'_>, name: &str) -> Option<String> {
    let text = view.string(name)?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn stop(view: &View<'_>) -> Option<Vec<String>> {
    let item = view.get("stop")?;
    let texts = match item.text() {
        Some(text) => vec![text],
        None => item.list()?.iter().filter_map(Item::text).collect(),
    };
    Some(texts.iter().map(|text| text.value.to_string()).collect())
}

fn reason(word: &str) -> Option<FallbackReason> {
    Some(match word {
        "rate_limit" => FallbackReason::RateLimit,
        "overloaded" => FallbackReason::Overloaded,
        "timeout" => FallbackReason::Timeout,
        "network" => FallbackReason::Network,
        "not_found" => FallbackReason::NotFound,
        "authentication" => FallbackReason::Authentication,
        "quota" => FallbackReason::Quota,
        _ => return None,
    })
}

/// An entry of `fallback`, read.
pub(crate) struct Fallback {
    pub(crate) location: Location,
    /// As written, a prefix that names the provider dropped.
    pub(crate) model: FallbackModel,
}

impl Fallback {
    fn read(item: &Item<'_>) -> Option<Self> {
        let view = item.mapping(&FALLBACK)?;
        let mut settings = LlmSettings {
            provider: view.string("provider"),
            model: trimmed(&view, "model"),
            ..LlmSettings::default()
        };
        strip_prefix(&mut settings);
        Some(Self {
            location: view.head(),
            model: FallbackModel {
                provider: settings.provider,
                model: settings.model,
                api_base: trimmed(&view, "api_base"),
                api_key_env: trimmed(&view, "api_key_env"),
            },
        })
    }
}

/// The entries of `fallback`.
pub(crate) fn fallbacks(view: &View<'_>) -> Vec<Fallback> {
    let items = view.list("fallback").unwrap_or_default();
    items.iter().filter_map(Fallback::read).collect()
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
        sampling: node.sampling.or(&global.sampling),
        extra_headers: node.extra_headers.or_else(|| global.extra_headers.clone()),
        fallback: node.fallback.or_else(|| global.fallback.clone()),
        fallback_on: node.fallback_on.or_else(|| global.fallback_on.clone()),
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
