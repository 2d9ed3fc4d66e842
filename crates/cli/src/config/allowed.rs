//! Lists of hosts and networks that requests may reach: `--webhook-allow`, `--model-allow`.

use std::fmt;
use std::str::FromStr;

use outbound::Rule;
use serde::{Deserialize, Deserializer, de};

/// Hosts, addresses and networks, separated by commas. In a settings file they may also be a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AllowList(pub Vec<Rule>);

impl FromStr for AllowList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// The rules, separated by commas.
impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{rule}")?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for AllowList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a text such as \"10.0.0.0/8\", or a list of such texts"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_read_from_a_text_or_a_list() {
        #[derive(Deserialize)]
        struct File {
            allow: AllowList,
        }
        let check = |toml: &str, expected: Result<&str, &str>| match (
            toml::from_str::<File>(toml),
            expected,
        ) {
            (Ok(file), Ok(rules)) => assert_eq!(file.allow.to_string(), rules, "{toml}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (read, expected) => panic!("{toml}: {:?}, {expected:?}", read.map(|f| f.allow)),
        };
        check("allow = \"10.0.0.0/8\"", Ok("10.0.0.0/8"));
        check(
            "allow = \"10.0.0.0/8, hooks.internal,::1\"",
            Ok("10.0.0.0/8,hooks.internal,::1/128"),
        );
        check(
            "allow = [\"10.0.0.0/8\", \"*.internal\"]",
            Ok("10.0.0.0/8,*.internal"),
        );
        check(
            "allow = [\"http://x\"]",
            Err("is not a host, address or network"),
        );
        check("allow = 5", Err("or a list of such"));
    }
}
