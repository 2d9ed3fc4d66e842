//! Where requests go and which headers they carry, computed once.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::http::uri::Scheme;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::client;
use crate::reach::Reach;
use crate::secret::Secret;

/// An address with the headers of its requests.
pub(crate) struct Endpoint {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// Host and port only: an address may carry credentials.
    pub(super) place: String,
    /// A workflow's file chose the address.
    pub(super) is_guarded: bool,
    /// Credentials that stand in the address, in each form an answer may repeat.
    pub(crate) credentials: Vec<Secret>,
}

impl Endpoint {
    /// `None` where this is no address over HTTP. Credentials in the address become a header,
    /// unless the headers have a key already.
    pub(super) fn new(url: &Url, mut headers: HeaderMap, proxies: &Matcher) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let mut secrets = Vec::new();
        if let Some(Credentials { password, encoded }) = credentials(url) {
            let mut value = HeaderValue::try_from(format!("Basic {}", encoded.reveal())).ok()?;
            value.set_sensitive(true);
            headers.entry(AUTHORIZATION).or_insert(value);
            secrets.push(encoded);
            secrets.extend(password);
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
            is_guarded: false,
            credentials: secrets,
        })
    }
}

/// Whether an address may be connected to, as far as can be seen of it: a name is judged when it is
/// resolved.
pub(super) fn may_reach(url: &Url, reach: &dyn Reach) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => reach.allows(&address.to_string(), address.into()),
        Some(Host::Ipv6(address)) => reach.allows(&address.to_string(), address.into()),
        Some(Host::Domain(_)) | None => true,
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

/// Of an address.
struct Credentials {
    password: Option<Secret>,
    /// Both, as they are sent.
    encoded: Secret,
}

fn credentials(url: &Url) -> Option<Credentials> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let plain = |text| percent_decode_str(text).decode_utf8_lossy();
    let secret = plain(password.unwrap_or_default());
    let pair = format!("{}:{secret}", plain(user));
    Some(Credentials {
        password: (!secret.is_empty()).then(|| Secret::from(secret)),
        encoded: Secret::from(BASE64_STANDARD.encode(pair)),
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[derive(Debug)]
    struct Only(IpAddr);

    impl Reach for Only {
        fn allows(&self, _host: &str, address: IpAddr) -> bool {
            address == self.0
        }
    }

    #[test]
    fn an_address_is_judged_however_it_is_written_and_a_name_is_not_judged_here() {
        let check = |address: &str, expected: bool| {
            let url = Url::parse(address).unwrap();
            let only = Only([127, 0, 0, 1].into());
            assert_eq!(may_reach(&url, &only), expected, "{address}");
        };
        check("http://127.0.0.1/v1", true);
        check("http://2130706433:80/v1", true);
        check("http://10.0.0.1/v1", false);
        check("http://0x0a000001/v1", false);
        check("http://[::1]/v1", false);
        check("http://localhost/v1", true);
    }

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
        let hidden = endpoint.credentials.iter().map(Secret::reveal);
        assert_eq!(
            hidden.collect::<Vec<_>>(),
            ["dXNAZXI6c2U6Y3JldA==", "se:cret"]
        );
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
