//! Where requests go, and what each of them carries: worked out once.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::http::uri::Scheme;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use url::Url;

use super::client;

/// An address with the headers of its requests.
pub(crate) struct Endpoint {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// Host and port only: an address may carry credentials.
    pub(super) place: String,
}

impl Endpoint {
    /// `None` where this is no address over HTTP. Credentials in the address become a header, unless the
    /// headers have a key already.
    pub(super) fn new(url: &Url, mut headers: HeaderMap, proxies: &Matcher) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        if let Some(credentials) = credentials(url) {
            headers.entry(AUTHORIZATION).or_insert(credentials);
        }
        let mut bare = url.clone();
        bare.set_username("").ok()?;
        bare.set_password(None).ok()?;
        bare.set_fragment(None);
        let uri: Uri = bare.as_str().parse().ok()?;
        headers.insert(USER_AGENT, client::USER_AGENT);
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("*/*"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        // Through a tunnel the proxy is told when it is dug.
        if uri.scheme() == Some(&Scheme::HTTP)
            && let Some(key) = proxies
                .intercept(&uri)
                .and_then(|proxy| proxy.basic_auth().cloned())
        {
            headers.insert(PROXY_AUTHORIZATION, key);
        }
        let host = url.host_str()?;
        let place = url
            .port_or_known_default()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Some(Self {
            uri,
            headers,
            place,
        })
    }
}

/// Without credentials and keys.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let address = format!("{scheme}://{}{}", self.place, self.uri.path());
        std::fmt::Debug::fmt(&address, f)
    }
}

fn credentials(url: &Url) -> Option<HeaderValue> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let plain = |text| percent_decode_str(text).decode_utf8_lossy();
    let pair = format!("{}:{}", plain(user), plain(password.unwrap_or_default()));
    let text = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str, proxy: &str) -> Option<Endpoint> {
        let proxies = Matcher::builder().http(proxy.to_owned()).build();
        Endpoint::new(&Url::parse(address).unwrap(), HeaderMap::new(), &proxies)
    }

    #[test]
    fn credentials_of_an_address_are_sent_and_never_shown() {
        let endpoint = endpoint("https://us%40er:se%3Acret@model.example/v1?x=1#y", "").unwrap();
        assert_eq!(endpoint.uri, "https://model.example/v1?x=1");
        assert_eq!(
            endpoint.headers[AUTHORIZATION],
            "Basic dXNAZXI6c2U6Y3JldA=="
        );
        assert!(endpoint.headers[AUTHORIZATION].is_sensitive());
        assert_eq!(format!("{endpoint:?}"), "\"https://model.example:443/v1\"");
    }

    #[test]
    fn a_key_wins_over_credentials_of_the_address() {
        let url = Url::parse("http://user:secret@model.example/v1").unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer k"))]);
        let endpoint = Endpoint::new(&url, headers, &Matcher::builder().build()).unwrap();
        assert_eq!(endpoint.headers[AUTHORIZATION], "Bearer k");
    }

    #[test]
    fn a_proxys_credentials_go_only_to_the_proxy() {
        let proxy = "http://user:secret@proxy.example:3128";
        let plain = endpoint("http://model.example/v1", proxy).unwrap();
        assert_eq!(plain.headers[PROXY_AUTHORIZATION], "Basic dXNlcjpzZWNyZXQ=");
        let tunnelled = endpoint("https://model.example/v1", proxy).unwrap();
        assert!(!tunnelled.headers.contains_key(PROXY_AUTHORIZATION));
    }

    #[test]
    fn other_schemes_are_no_addresses() {
        assert!(endpoint("ftp://model.example/v1", "").is_none());
    }
}
