//! Finds the real models: provider, address and key of each spec, from the spec and the injected
//! environment.

mod provider;
mod variables;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::Error;
use crate::error::ErrorKind;
use crate::model::{ChatModel, ModelSpec, Models, PROVIDERS};
use crate::offline::{self, Offline};
use crate::providers::Dialect;
use crate::providers::anthropic::Anthropic;
use crate::providers::google::Google;
use crate::providers::model::{HttpModel, ModelAddress};
use crate::providers::ollama::Ollama;
use crate::providers::openai::{self, OpenAi};
use crate::settings::Settings;
use crate::transport::Transport;
use provider::{Provider, own_address};
use url::Url;
pub use variables::Variables;

/// The real models, reached over HTTP. One per process: its models share connections.
#[derive(Debug)]
pub struct Registry {
    settings: Settings,
    transport: Transport,
    /// A spec's model is made once; specs come from workflow files, so there are few.
    found: RwLock<HashMap<ModelSpec, Arc<dyn ChatModel>>>,
}

impl Registry {
    /// Sets the HTTP client up. Fails (`ErrorKind::Config`) when the extra certificates or a
    /// proxy's address cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let transport = Transport::new(&settings)?;
        Ok(Self {
            settings,
            transport,
            found: RwLock::default(),
        })
    }

    fn make(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error> {
        let name = spec.provider();
        if name == offline::PROVIDER {
            return Offline.find(spec);
        }
        let provider = Provider::named(name).ok_or_else(|| {
            let known = PROVIDERS.join(", ");
            Error::new(
                ErrorKind::Config,
                format!("there is no provider `{name}`; use one of {known}"),
            )
        })?;
        let base = provider.base(spec, &self.settings.environment);
        let key = provider.key(spec, &self.settings.environment, &base)?;
        let model = spec.model.as_deref().unwrap_or(provider.default_model);
        let base = if provider.name == "openai" {
            openai::complete(&base, model)
                .map_err(|missing| Error::new(ErrorKind::Config, format!("`{base}` {missing}")))?
        } else {
            base
        };
        let target = ModelAddress {
            provider: provider.name,
            model,
            base: &base,
            is_of_workflow: own_address(spec).is_some(),
            key,
        };
        match provider.name {
            "openai" => self.reach(target, OpenAi::at(Url::parse(&base).ok().as_ref())),
            "anthropic" => self.reach(target, Anthropic),
            "google" => self.reach(target, Google),
            _ => self.reach(target, Ollama),
        }
    }

    fn reach<D: Dialect>(
        &self,
        target: ModelAddress<'_>,
        dialect: D,
    ) -> Result<Arc<dyn ChatModel>, Error> {
        let model = HttpModel::new(
            target,
            dialect,
            self.transport.clone(),
            Arc::clone(&self.settings.prices),
            Arc::clone(&self.settings.clock),
        )?;
        Ok(Arc::new(model))
    }
}

impl Models for Registry {
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error> {
        if let Some(model) = self
            .found
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(spec)
        {
            return Ok(Arc::clone(model));
        }
        let model = self.make(spec)?;
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(found.entry(spec.clone()).or_insert(model)))
    }

    fn price_table(&self) -> Option<Arc<str>> {
        Some(Arc::clone(self.settings.prices.version()))
    }

    fn max_retry_after(&self) -> Duration {
        self.settings.max_retry_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> ModelSpec {
        if text.is_empty() {
            ModelSpec::default()
        } else {
            ModelSpec::parse(text).unwrap()
        }
    }

    fn find(spec: &ModelSpec, variables: &[(&str, &str)]) -> Result<Arc<dyn ChatModel>, Error> {
        let settings = Settings {
            environment: variables.iter().copied().collect(),
            ..Settings::default()
        };
        Registry::new(settings).unwrap().find(spec)
    }

    /// The model's name and address, as its debug text shows them.
    #[track_caller]
    fn check(spec: &ModelSpec, variables: &[(&str, &str)], name: &str, address: &str) {
        let model = find(spec, variables).unwrap();
        assert_eq!(model.name(), name);
        assert!(
            format!("{model:?}").contains(&format!("\"{address}\"")),
            "{model:?}"
        );
    }

    #[test]
    fn defaults() {
        check(
            &spec(""),
            &[("GOOGLE_API_KEY", "k")],
            "google/gemini-2.5-flash-lite",
            "https://generativelanguage.googleapis.com:443/v1beta/models/gemini-2.5-flash-lite:generateContent",
        );
        check(
            &spec("google"),
            &[("GEMINI_API_KEY", "k")],
            "google/gemini-2.5-flash-lite",
            "https://generativelanguage.googleapis.com:443/v1beta/models/gemini-2.5-flash-lite:generateContent",
        );
        check(
            &spec("openai"),
            &[("OPENAI_API_KEY", "k")],
            "openai/gpt-6-luna",
            "https://api.openai.com:443/v1/chat/completions",
        );
        check(
            &spec("anthropic"),
            &[("ANTHROPIC_API_KEY", "k")],
            "anthropic/claude-haiku-5-5",
            "https://api.anthropic.com:443/v1/messages",
        );
        check(
            &spec("ollama"),
            &[],
            "ollama/llama3.2",
            "http://localhost:11434/api/chat",
        );
        assert_eq!(
            find(&spec("offline"), &[]).unwrap().name(),
            "offline/builtin"
        );
        assert_eq!(
            find(&spec("offline/demo"), &[]).unwrap().name(),
            "offline/demo"
        );
    }

    #[test]
    fn addresses_come_from_the_file_then_from_the_environment() {
        let mut wanted = spec("openai/m");
        check(
            &wanted,
            &[("OPENAI_BASE_URL", "http://a:1/v1/")],
            "openai/m",
            "http://a:1/v1/chat/completions",
        );
        check(
            &wanted,
            &[("OPENAI_API_BASE", "http://b:1/v1")],
            "openai/m",
            "http://b:1/v1/chat/completions",
        );
        wanted.api_base = Some("http://c:1/v1".to_owned());
        check(
            &wanted,
            &[("OPENAI_BASE_URL", "http://a:1/v1")],
            "openai/m",
            "http://c:1/v1/chat/completions",
        );
        check(
            &spec("anthropic/m"),
            &[("ANTHROPIC_BASE_URL", "http://a:1")],
            "anthropic/m",
            "http://a:1/v1/messages",
        );
        check(
            &spec("google/m"),
            &[("GOOGLE_GEMINI_BASE_URL", "http://a:1")],
            "google/m",
            "http://a:1/v1beta/models/m:generateContent",
        );
        check(
            &spec("ollama/m"),
            &[("OLLAMA_HOST", "box:1234")],
            "ollama/m",
            "http://box:1234/api/chat",
        );
    }

    #[test]
    fn addresses_of_azure_and_whole_endpoints() {
        for (base, expected) in [
            (
                "https://a.openai.azure.com?api-version=2024-10-21",
                "https://a.openai.azure.com:443/openai/deployments/m/chat/completions",
            ),
            (
                "https://a.openai.azure.com/openai/deployments/x/chat/completions?api-version=1",
                "https://a.openai.azure.com:443/openai/deployments/x/chat/completions",
            ),
            (
                "http://a:1/v1/chat/completions",
                "http://a:1/v1/chat/completions",
            ),
            ("http://a:1/v1/?key=1", "http://a:1/v1/chat/completions"),
        ] {
            check(
                &spec("openai/m"),
                &[("OPENAI_BASE_URL", base), ("OPENAI_API_KEY", "k")],
                "openai/m",
                expected,
            );
        }
    }

    #[track_caller]
    fn check_refused(spec: &ModelSpec, variables: &[(&str, &str)], message: &str) {
        let error = find(spec, variables).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Config, message)
        );
    }

    #[test]
    fn a_missing_key_says_what_to_do() {
        check_refused(
            &spec(""),
            &[],
            "no key for google: set GOOGLE_API_KEY, or use another model with `--model ollama/llama3.2` for a local one, \
             or `--offline` to try the workflow without any",
        );
        check_refused(
            &spec("anthropic"),
            &[("OPENAI_API_KEY", "k"), ("ANTHROPIC_API_KEY", " ")],
            "no key for anthropic: set ANTHROPIC_API_KEY, or use another model with `--model openai/gpt-6-luna`, whose key is set, \
             or `--offline` to try the workflow without any",
        );
        let named = ModelSpec {
            api_key_env: Some("TEAM_KEY".to_owned()),
            ..spec("openai/m")
        };
        check_refused(
            &named,
            &[("OPENAI_API_KEY", "k")],
            "`api_key_env` names TEAM_KEY for the openai key, but TEAM_KEY is not set",
        );
    }

    #[test]
    fn a_workflow_cannot_have_the_servers_own_secrets_sent() {
        for variable in ["FLOWMILL_API_KEYS", "MLFLOW_TRACKING_TOKEN"] {
            let named = ModelSpec {
                api_base: Some("https://elsewhere.example".to_owned()),
                api_key_env: Some(variable.to_owned()),
                ..spec("openai/m")
            };
            let message = format!(
                "`api_key_env` cannot name {variable}: it is a setting of this program, not a provider's key"
            );
            check_refused(&named, &[(variable, "s3cret")], &message);
        }
    }

    #[test]
    fn servers_of_ones_own_need_no_key() {
        for provider in ["openai", "anthropic", "google"] {
            let spec = ModelSpec {
                api_base: Some("http://localhost:1".to_owned()),
                ..spec(provider)
            };
            assert!(find(&spec, &[]).is_ok(), "{provider}");
        }
    }

    #[test]
    fn unusable_settings_are_refused() {
        let no_address = ModelSpec {
            api_base: Some("not an address".to_owned()),
            ..spec("openai/m")
        };
        check_refused(
            &no_address,
            &[],
            "`not an address` is not a valid address for openai; write one such as `http://127.0.0.1:8080/v1`",
        );
        check_refused(
            &spec("openai/m"),
            &[("OPENAI_API_KEY", "k\u{1}")],
            "OPENAI_API_KEY contains characters that an API key cannot have; copy the openai key again",
        );
        let unknown = ModelSpec {
            provider: Some("acme".to_owned()),
            ..ModelSpec::default()
        };
        check_refused(
            &unknown,
            &[],
            "there is no provider `acme`; use one of openai, anthropic, google, ollama, offline",
        );
    }

    #[test]
    fn a_spec_is_found_once() {
        let settings = Settings {
            environment: [("OPENAI_API_KEY", "k")].into_iter().collect(),
            ..Settings::default()
        };
        let registry = Registry::new(settings).unwrap();
        let (one, two) = (
            registry.find(&spec("openai/m")).unwrap(),
            registry.find(&spec("openai/m")).unwrap(),
        );
        assert!(Arc::ptr_eq(&one, &two));
    }

    #[test]
    fn keys_stay_out_of_debug_output() {
        let model = find(&spec("openai/m"), &[("OPENAI_API_KEY", "sk-secret")]).unwrap();
        assert!(!format!("{model:?}").contains("sk-secret"));
        let model = find(
            &spec("openai/m"),
            &[("OPENAI_BASE_URL", "http://user:sk-secret@box/v1")],
        )
        .unwrap();
        assert!(!format!("{model:?}").contains("sk-secret"), "{model:?}");
    }
}
