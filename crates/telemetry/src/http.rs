//! The HTTP client of the sinks, with the bundled roots and the proxies of the injected
//! environment.

use std::time::Duration;

use outbound::{Environment, Proxies};
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy, Url};

/// A setting of the HTTP client cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HttpError(String);

impl From<outbound::Error> for HttpError {
    fn from(error: outbound::Error) -> Self {
        Self(error.0)
    }
}

/// A client that trusts the bundled roots and those in `extra_roots_pem`.
pub fn client(
    environment: &Environment,
    extra_roots_pem: Option<&[u8]>,
) -> Result<Client, HttpError> {
    let mut tls = outbound::tls::client(extra_roots_pem)?;
    // A few requests a second gain nothing from HTTP/2.
    tls.alpn_protocols.clear();
    let mut builder = Client::builder()
        .user_agent(concat!("flowmill/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .connect_timeout(Duration::from_secs(5))
        .redirect(Policy::none())
        .no_proxy();
    let proxies = Proxies::read(environment)?;
    let exempt = NoProxy::from_string(&proxies.exempt);
    let named = [
        proxies.https.map(Proxy::https),
        proxies.http.map(Proxy::http),
        proxies.all.map(Proxy::all),
    ];
    for proxy in named.into_iter().flatten() {
        let proxy = proxy.map_err(|_| HttpError("a proxy cannot be used".to_owned()))?;
        builder = builder.proxy(proxy.no_proxy(exempt.clone()));
    }
    builder
        .build()
        .map_err(|error| HttpError(format!("the HTTP client cannot be set up: {error}")))
}

/// An address without its credentials and query, which may be secret.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only for addresses without a host, which have no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// The innermost cause, which is the informative one. It never contains an address, which may
/// contain a password.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<reqwest::Error>() {
        return if error.is_timeout() {
            "no response in time".to_owned()
        } else {
            "the connection broke".to_owned()
        };
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let check = |variables: &[(&str, &str)], pem: Option<&[u8]>, part: Option<&str>| {
            let built = client(&variables.iter().copied().collect(), pem);
            let said = built.err().map(|error| error.to_string());
            match (said, part) {
                (None, None) => {}
                (Some(said), Some(part)) => assert!(said.contains(part), "{said}"),
                (said, part) => panic!("{said:?} instead of {part:?}"),
            }
        };
        check(&[], None, None);
        check(&[("https_proxy", "http://proxy.example:3128")], None, None);
        check(&[("HTTP_PROXY", "http://[")], None, Some("HTTP_PROXY"));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check(&[], Some(broken), Some("cannot be read"));
    }
}
