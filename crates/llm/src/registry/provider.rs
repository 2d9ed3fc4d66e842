//! What is fixed about each provider, and reading its address and key from a spec and the
//! environment.

use crate::Error;
use crate::error::ErrorKind;
use crate::model::ModelSpec;
use crate::providers::model::Key;
use crate::secret::Secret;
use outbound::Environment;

/// What is fixed about a provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: &'static str,
    /// A small current model.
    pub(super) default_model: &'static str,
    default_base: &'static str,
    /// The first that is set counts.
    pub(super) base_variables: &'static [&'static str],
    /// The first that is set counts; the first is the one to recommend.
    pub(super) key_variables: &'static [&'static str],
}

/// Those reached over HTTP.
const HTTP_PROVIDERS: &[Provider] = &[
    Provider {
        name: "openai",
        default_model: "gpt-6-luna",
        default_base: "https://api.openai.com/v1",
        base_variables: &["OPENAI_BASE_URL", "OPENAI_API_BASE"],
        key_variables: &["OPENAI_API_KEY"],
    },
    Provider {
        name: "anthropic",
        default_model: "claude-haiku-5-5",
        default_base: "https://api.anthropic.com",
        base_variables: &["ANTHROPIC_BASE_URL"],
        key_variables: &["ANTHROPIC_API_KEY"],
    },
    Provider {
        name: "google",
        default_model: "gemini-2.5-flash-lite",
        default_base: "https://generativelanguage.googleapis.com/v1beta",
        base_variables: &["GOOGLE_GEMINI_BASE_URL"],
        key_variables: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
    },
    Provider {
        name: "ollama",
        default_model: "llama3.2",
        default_base: "http://localhost:11434",
        base_variables: &["OLLAMA_HOST"],
        key_variables: &[],
    },
];

impl Provider {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        HTTP_PROVIDERS.iter().find(|provider| provider.name == name)
    }

    /// The spec's address, the environment's, or the provider's own; no trailing slash.
    pub(super) fn base(&self, spec: &ModelSpec, environment: &Environment) -> String {
        let named = own_address(spec).or_else(|| {
            self.base_variables
                .iter()
                .find_map(|variable| environment.get(variable))
        });
        let base = named.unwrap_or(self.default_base).trim_end_matches('/');
        if self.name == "ollama" {
            ollama_address(base)
        } else {
            base.to_owned()
        }
    }

    /// Only the provider's own host insists on a key: servers of one's own often need none.
    pub(super) fn key(
        &self,
        spec: &ModelSpec,
        environment: &Environment,
        base: &str,
    ) -> Result<Option<Key>, Error> {
        let read = |variable: &str| {
            let value = environment.get(variable)?.to_owned();
            Some(Key {
                value: Secret::from(value),
                variable: variable.to_owned(),
            })
        };
        if let Some(variable) = &spec.api_key_env {
            if is_of_the_server(variable) {
                let message = format!(
                    "`api_key_env` cannot name {variable}: it is a setting of this program, not a provider's key"
                );
                return Err(Error::new(ErrorKind::Config, message));
            }
            let key = read(variable).ok_or_else(|| {
                let message = format!(
                    "`api_key_env` names {variable} for the {} key, but {variable} is not set",
                    self.name
                );
                Error::new(ErrorKind::Config, message)
            })?;
            return Ok(Some(key));
        }
        let key = self
            .key_variables
            .iter()
            .find_map(|variable| read(variable));
        match (key, self.key_variables.first()) {
            (None, Some(variable)) if self.insists_on_key(base) => {
                Err(self.missing_key(variable, environment))
            }
            (key, _) => Ok(key),
        }
    }

    /// Only the provider's own host does: servers of one's own often need none.
    pub(super) fn insists_on_key(&self, base: &str) -> bool {
        host(base) == host(self.default_base)
    }

    fn missing_key(&self, variable: &str, environment: &Environment) -> Error {
        let other = HTTP_PROVIDERS
            .iter()
            .find(|provider| {
                provider
                    .key_variables
                    .iter()
                    .any(|variable| environment.get(variable).is_some())
            })
            .map_or_else(
                || "`--model ollama/llama3.2` for a local one".to_owned(),
                |provider| {
                    format!(
                        "`--model {}/{}`, whose key is set",
                        provider.name, provider.default_model
                    )
                },
            );
        let message = format!(
            "no key for {}: set {variable}, or use another model with {other}, or `--offline` to try the workflow without any",
            self.name
        );
        Error::new(ErrorKind::Config, message)
    }
}

/// The address that the spec itself names.
pub(super) fn own_address(spec: &ModelSpec) -> Option<&str> {
    let base = spec.api_base.as_deref().map(str::trim);
    base.filter(|base| !base.is_empty())
}

/// What lets callers in, signs our messages, or opens our telemetry: a workflow's file could have
/// it sent to an address of its own.
fn is_of_the_server(variable: &str) -> bool {
    ["FLOWMILL_", "MLFLOW_", "OTEL_"]
        .iter()
        .any(|prefix| variable.to_ascii_uppercase().starts_with(prefix))
}

pub(super) fn host(base: &str) -> Option<String> {
    url::Url::parse(base).ok()?.host_str().map(str::to_owned)
}

/// Ollama's own forms of an address: `host`, `:port`, `host:port`, with or without a scheme. A
/// server told to listen everywhere is reached on the loopback address.
fn ollama_address(text: &str) -> String {
    let (scheme, rest, default_port) = match text.split_once("://") {
        Some(("https", rest)) => ("https", rest, ""),
        Some((scheme, rest)) => (scheme, rest, ""),
        None => ("http", text, ":11434"),
    };
    let (authority, path) = rest
        .find('/')
        .map_or((rest, ""), |slash| rest.split_at(slash));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (host, format!(":{port}"))
        }
        _ => (authority, default_port.to_owned()),
    };
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    format!("{scheme}://{host}{port}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_ollama_host() {
        for (text, expected) in [
            ("box", "http://box:11434"),
            ("box:80", "http://box:80"),
            (":8000", "http://127.0.0.1:8000"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("[::1]", "http://[::1]:11434"),
            ("[::]:8000", "http://[::1]:8000"),
            ("http://box", "http://box"),
            ("https://box/ollama", "https://box/ollama"),
            ("http://localhost:11434/v1", "http://localhost:11434/v1"),
        ] {
            assert_eq!(ollama_address(text), expected, "{text}");
        }
    }
}
