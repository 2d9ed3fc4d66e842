//! Builds the HTTP client: bundled roots, proxies from the injected environment, pools and
//! timeouts.
//!
//! It follows no redirect: a redirected POST would arrive as a GET, or carry the key to another
//! host.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HeaderValue;
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use outbound::{Proxies, tls};

use super::connector::Connector;
use crate::Error;
use crate::error::ErrorKind;
use crate::reach::Reach;
use crate::settings::Settings;

pub(super) type Client = legacy::Client<Connector, Full<Bytes>>;

/// The `User-Agent` of all requests.
pub(super) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("flowmill/", env!("CARGO_PKG_VERSION")));

/// The clients, and the proxies they go through. They share no connection: one that was opened to
/// an address of the operator's is not there for a workflow's.
pub(super) struct Clients {
    /// For addresses that the operator set.
    pub(super) free: Client,
    /// For addresses in workflow files.
    pub(super) guarded: Client,
    pub(super) proxies: Arc<Matcher>,
}

/// Sets both clients up.
pub(super) fn build(settings: &Settings) -> Result<Clients, Error> {
    let proxies = Proxies::read(&settings.environment).map_err(config)?;
    let proxies = Arc::new(matcher(proxies));
    let tls = tls::client(settings.extra_roots_pem.as_deref()).map_err(config)?;
    let client = |reach: Option<Arc<dyn Reach>>| {
        let connector = Connector::new(
            tls.clone(),
            proxies.clone(),
            reach,
            USER_AGENT,
            settings.connect_timeout,
        );
        legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(usize::MAX)
            .pool_idle_timeout(Duration::from_secs(90))
            .build(connector)
    };
    Ok(Clients {
        free: client(None),
        guarded: client(settings.reach.clone()),
        proxies,
    })
}

fn matcher(proxies: Proxies) -> Matcher {
    Matcher::builder()
        .https(proxies.https.unwrap_or_default())
        .http(proxies.http.unwrap_or_default())
        .all(proxies.all.unwrap_or_default())
        .no(proxies.exempt)
        .build()
}

fn config(error: outbound::Error) -> Error {
    Error::new(ErrorKind::Config, error.0)
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
            (got, expected) => panic!("{:?}, expected {expected:?}", got.map(|_| ())),
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
