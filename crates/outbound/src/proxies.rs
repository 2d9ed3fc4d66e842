//! The proxies that the environment names.

use reqwest::Proxy;

use crate::client::Error;
use crate::environment::Environment;

/// Hosts of this machine, which are never reached through a proxy, whatever `NO_PROXY` says.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// URLs of proxies by the scheme of the request. They may hold passwords.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For `https` requests.
    pub https: Option<String>,
    /// For `http` requests.
    pub http: Option<String>,
    /// For requests without a proxy of their own scheme.
    pub all: Option<String>,
    /// Hosts and networks that are reached without a proxy, separated by commas.
    pub exempt: String,
}

impl Proxies {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. Names in lower case take
    /// precedence.
    pub fn read(environment: &Environment) -> Result<Self, Error> {
        let either = |name: &str| {
            environment
                .get(&name.to_ascii_lowercase())
                .or_else(|| environment.get(name))
        };
        let address = |name: &str| {
            let Some(address) = either(name) else {
                return Ok(None);
            };
            match Proxy::all(address) {
                Ok(_) => Ok(Some(address.to_owned())),
                Err(_) => Err(Error(format!(
                    "{name} is not an address such as http://proxy.example:3128"
                ))),
            }
        };
        Ok(Self {
            https: address("HTTPS_PROXY")?,
            http: address("HTTP_PROXY")?,
            all: address("ALL_PROXY")?,
            exempt: either("NO_PROXY")
                .map_or_else(|| LOOPBACK.to_owned(), |list| format!("{LOOPBACK},{list}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_in_either_case_and_never_stand_before_this_machine() {
        let variables = [
            ("https_proxy", "http://one.example:3128"),
            ("HTTPS_PROXY", "http://two.example:3128"),
            ("ALL_PROXY", "proxy.example:8080"),
            ("NO_PROXY", "internal.example"),
        ];
        let proxies = Proxies::read(&variables.into_iter().collect()).expect("addresses");
        assert_eq!(proxies.https.as_deref(), Some("http://one.example:3128"));
        assert_eq!(proxies.http, None);
        assert_eq!(proxies.all.as_deref(), Some("proxy.example:8080"));
        assert_eq!(proxies.exempt, "localhost,127.0.0.0/8,::1,internal.example");
    }

    #[test]
    fn an_address_that_cannot_be_used_is_named_by_its_variable_only() {
        let variables = [("http_proxy", "http://user:letmein@[")];
        let refused = Proxies::read(&variables.into_iter().collect()).err();
        let message = refused.expect("no address").to_string();
        assert!(
            message.starts_with("HTTP_PROXY is not an address"),
            "{message}"
        );
        assert!(!message.contains("letmein"), "{message}");
    }
}
