//! Builds the reqwest client: bundled roots, proxies from the injected environment, pools and timeouts.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy};

use crate::Error;
use crate::error::ErrorKind;
use crate::settings::{Environment, Settings};
use crate::tls;

/// Never sent through a proxy, whatever `NO_PROXY` says: local model servers.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

pub(super) fn build(settings: &Settings) -> Result<Client, Error> {
    let mut builder = Client::builder()
        .user_agent(concat!("flowmill/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls::client(settings.extra_roots_pem.as_deref())?)
        .connect_timeout(settings.connect_timeout)
        // A redirected POST would arrive as a GET, or carry the key to another host.
        .redirect(Policy::none())
        .pool_max_idle_per_host(usize::MAX)
        .pool_idle_timeout(Duration::from_secs(90))
        .tcp_nodelay(true)
        .no_proxy();
    for proxy in proxies(&settings.environment)? {
        builder = builder.proxy(proxy);
    }
    builder
        .build()
        .map_err(|error| config(format!("the HTTP client cannot be set up: {error}")))
}

/// Makes a proxy of an address.
type Make = fn(String) -> reqwest::Result<Proxy>;

fn proxies(environment: &Environment) -> Result<Vec<Proxy>, Error> {
    let either = |lower: &str, upper: &str| {
        environment
            .get(lower)
            .or_else(|| environment.get(upper))
            .map(str::to_owned)
    };
    let exempt = either("no_proxy", "NO_PROXY")
        .map_or_else(|| LOOPBACK.to_owned(), |list| format!("{LOOPBACK},{list}"));
    let mut proxies = Vec::new();
    let kinds: [(&str, &str, Make); 3] = [
        ("https_proxy", "HTTPS_PROXY", Proxy::https::<String>),
        ("http_proxy", "HTTP_PROXY", Proxy::http::<String>),
        ("all_proxy", "ALL_PROXY", Proxy::all::<String>),
    ];
    for (lower, upper, make) in kinds {
        if let Some(address) = either(lower, upper) {
            let proxy = make(address).map_err(|_| {
                config(format!(
                    "{upper} is not an address such as http://proxy.example:3128"
                ))
            })?;
            proxies.push(proxy.no_proxy(NoProxy::from_string(&exempt)));
        }
    }
    Ok(proxies)
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], pem: Option<&str>, expected: Result<(), &str>) {
        let settings = Settings {
            environment: variables.iter().copied().collect(),
            extra_roots_pem: pem.map(|pem| pem.as_bytes().to_vec()),
            ..Settings::default()
        };
        match (build(&settings), expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{}", error.message),
            (got, expected) => panic!("{got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn builds_without_any_system_roots_or_global_crypto_provider() {
        check(&[], None, Ok(()));
    }

    #[test]
    fn takes_proxies_from_the_injected_environment() {
        check(
            &[
                ("HTTPS_PROXY", "http://proxy.example:3128"),
                ("NO_PROXY", "internal.example"),
            ],
            None,
            Ok(()),
        );
        check(
            &[("https_proxy", "http://[")],
            None,
            Err("HTTPS_PROXY is not an address"),
        );
    }

    #[test]
    fn refuses_extra_roots_it_cannot_read() {
        check(
            &[],
            Some("no certificate here"),
            Err("hold no `BEGIN CERTIFICATE` block"),
        );
        check(
            &[],
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            Err("cannot be read"),
        );
    }
}
