//! The HTTP client of what leaves the process: bundled roots, and proxies from the injected environment.

use std::time::Duration;

use llm::Environment;
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Never reached through a proxy.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// What of the settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HttpError(String);

/// A client that trusts the bundled roots and those in `extra_roots_pem`.
pub fn client(
    environment: &Environment,
    extra_roots_pem: Option<&[u8]>,
) -> Result<Client, HttpError> {
    let mut builder = Client::builder()
        .user_agent(concat!("flowmill/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls(extra_roots_pem)?)
        .connect_timeout(Duration::from_secs(5))
        .redirect(Policy::none())
        .no_proxy();
    for (scheme, name) in [
        ("https", "HTTPS_PROXY"),
        ("http", "HTTP_PROXY"),
        ("", "ALL_PROXY"),
    ] {
        let Some(address) = either(environment, name) else {
            continue;
        };
        let proxy = match scheme {
            "https" => Proxy::https(address),
            "http" => Proxy::http(address),
            _ => Proxy::all(address),
        };
        let proxy = proxy.map_err(|_| {
            HttpError(format!(
                "{name} is not an address such as http://proxy.example:3128"
            ))
        })?;
        let exempt = either(environment, "NO_PROXY").unwrap_or_default();
        let exempt = NoProxy::from_string(&format!("{LOOPBACK},{exempt}"));
        builder = builder.proxy(proxy.no_proxy(exempt));
    }
    builder
        .build()
        .map_err(|error| HttpError(format!("the HTTP client cannot be set up: {error}")))
}

/// An address as it may be shown: credentials and query may be secret.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // They fail for addresses without a host, which have no credentials either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// The innermost cause, which is the one that says something; never an address, which may hold a password.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<reqwest::Error>() {
        return if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            "the exchange broke off".to_owned()
        };
    }
    cause.to_string()
}

/// In small letters, as most programs have it, or in capitals.
fn either<'e>(environment: &'e Environment, name: &str) -> Option<&'e str> {
    environment
        .get(&name.to_ascii_lowercase())
        .or_else(|| environment.get(name))
}

/// So that neither the system's store nor a process-wide provider matters.
fn tls(extra_roots_pem: Option<&[u8]>) -> Result<ClientConfig, HttpError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    let unreadable = |error: &dyn std::fmt::Display| {
        HttpError(format!(
            "an extra certificate cannot be read: {error}; give a PEM file"
        ))
    };
    for certificate in extra_roots_pem
        .into_iter()
        .flat_map(CertificateDer::pem_slice_iter)
    {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    let provider = rustls::crypto::ring::default_provider();
    Ok(ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth())
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
