//! The part of `[serve]` that says how ends of jobs are told: where to by default, and what may be reached.

use std::fmt;
use std::str::FromStr;

use outbound::Rule;
use serde::{Deserialize, Deserializer, de};

use super::serve::Options;

/// A text that is never printed, also not where it is wrong.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Hosts, addresses and networks, separated by commas; in a file, a list as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Allowed(pub Vec<Rule>);

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a text such as \"10.0.0.0/8\", or a list of such"
        )]
        enum Written {
            Text(String),
            List(Vec<String>),
        }
        let rules = match Written::deserialize(deserializer)? {
            Written::Text(text) => text.parse(),
            Written::List(texts) => texts
                .iter()
                .map(|text| text.parse())
                .collect::<Result<_, _>>()
                .map(Self),
        };
        rules.map_err(de::Error::custom)
    }
}

/// Decided, and not checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The server's own webhook.
    pub url: Option<Secret>,
    /// What its messages are signed with.
    pub secret: Option<Secret>,
    /// What webhooks may reach besides the public internet.
    pub allow: Allowed,
}

impl Settings {
    /// Takes what is unset from the file.
    pub(crate) fn settle(options: &Options, file: &Options) -> Self {
        let either = |ours: &Option<Secret>, theirs: &Option<Secret>| {
            ours.as_ref().or(theirs.as_ref()).cloned()
        };
        let allow = options
            .webhook_allow
            .as_ref()
            .or(file.webhook_allow.as_ref());
        Self {
            url: either(&options.webhook_url, &file.webhook_url),
            secret: either(&options.webhook_secret, &file.webhook_secret),
            allow: allow.cloned().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_read_from_a_text_or_a_list() {
        #[derive(Deserialize)]
        struct File {
            allow: Allowed,
        }
        let check = |toml: &str, expected: Result<usize, &str>| match (
            toml::from_str::<File>(toml),
            expected,
        ) {
            (Ok(file), Ok(rules)) => assert_eq!(file.allow.0.len(), rules, "{toml}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (read, expected) => panic!("{toml}: {:?}, {expected:?}", read.map(|f| f.allow)),
        };
        check("allow = \"10.0.0.0/8\"", Ok(1));
        check("allow = \"10.0.0.0/8, hooks.internal,::1\"", Ok(3));
        check("allow = [\"10.0.0.0/8\", \"*.internal\"]", Ok(2));
        check(
            "allow = [\"http://x\"]",
            Err("is no host, address or network"),
        );
        check("allow = 5", Err("or a list of such"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings = Settings {
            url: Some(Secret::from("letmein".to_owned())),
            secret: Some(Secret::from("letmein".to_owned())),
            allow: Allowed::default(),
        };
        assert!(!format!("{settings:?}").contains("letmein"));
    }
}
