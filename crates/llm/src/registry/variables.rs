//! Which variables of the environment decide whether a model can be reached: for whoever prepares
//! an environment before there is one.

use super::provider::Provider;
use crate::model::ModelSpec;

/// The variables that count for one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variables {
    /// `openai`, …
    pub provider: &'static str,
    /// Any one of them holds the key; the first is the one to recommend. Empty where there is none.
    pub key: Vec<String>,
    /// Without a key no call can succeed, unless another address is set.
    pub needs_key: bool,
    /// Any one of them names another address; the first is the one to recommend. Empty where the
    /// spec names the address itself.
    pub address: &'static [&'static str],
    /// Where the model is asked when no variable says otherwise.
    pub default_address: String,
}

impl Variables {
    /// Of the model that a spec means; `None` for the offline model and for providers that are not
    /// known.
    pub fn of(spec: &ModelSpec) -> Option<Self> {
        let provider = Provider::named(spec.provider())?;
        let default_address = provider.base(spec, &outbound::Environment::default());
        let has_own_address = spec
            .api_base
            .as_deref()
            .is_some_and(|base| !base.trim().is_empty());
        let key = match &spec.api_key_env {
            Some(named) => vec![named.clone()],
            None => provider
                .key_variables
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
        };
        Some(Self {
            provider: provider.name,
            needs_key: spec.api_key_env.is_some()
                || (!key.is_empty() && provider.insists_on_key(&default_address)),
            key,
            address: if has_own_address {
                &[]
            } else {
                provider.base_variables
            },
            default_address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: &ModelSpec, key: &[&str], needs_key: bool, address: &[&str]) {
        let variables = Variables::of(spec).expect("an HTTP provider");
        assert_eq!(variables.key, key);
        assert_eq!(variables.needs_key, needs_key);
        assert_eq!(variables.address, address);
    }

    #[test]
    fn keys_and_addresses_of_each_provider() {
        let spec = |text: &str| ModelSpec::parse(text).expect("a spec");
        let openai_addresses = &["OPENAI_BASE_URL", "OPENAI_API_BASE"];
        check(&spec("openai"), &["OPENAI_API_KEY"], true, openai_addresses);
        check(
            &spec("google"),
            &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
            true,
            &["GOOGLE_GEMINI_BASE_URL"],
        );
        check(&spec("ollama"), &[], false, &["OLLAMA_HOST"]);
        let own = ModelSpec {
            api_base: Some("http://box/v1".to_owned()),
            ..spec("openai")
        };
        check(&own, &["OPENAI_API_KEY"], false, &[]);
        let named = ModelSpec {
            api_key_env: Some("TEAM_KEY".to_owned()),
            ..own
        };
        check(&named, &["TEAM_KEY"], true, &[]);
        assert_eq!(Variables::of(&spec("offline")), None);
    }
}
