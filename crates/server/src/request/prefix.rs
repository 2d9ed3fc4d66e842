//! The path below which a proxy shows this server to clients, and which it may cut off the requests
//! that it forwards. Every address that leads clients back to the server (`Location`, links, the
//! OpenAPI document's `servers`) has to begin with it. The pages do not need it: their links are
//! relative.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::LOCATION;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;

use super::client::is_trusted;
use crate::app::App;
use crate::root_path::RootPath;

const X_FORWARDED_PREFIX: &str = "x-forwarded-prefix";

/// The prefix that the operator has set, otherwise the one that a proxy sends, if it is trusted or
/// runs on this machine. A forged header changes only the links in the answer to its sender.
fn choose(app: &App, peer: IpAddr, headers: &HeaderMap) -> RootPath {
    let set = &app.settings().root_path;
    if !set.as_str().is_empty() || !headers.contains_key(X_FORWARDED_PREFIX) {
        return set.clone();
    }
    let peer = peer.to_canonical();
    if !peer.is_loopback() && !is_trusted(peer, &app.settings().trusted_proxies) {
        return RootPath::default();
    }
    // With several proxies, the outermost prefix comes first.
    let values = headers.get_all(X_FORWARDED_PREFIX).iter();
    let parts = values.flat_map(|value| value.to_str().unwrap_or("?").split(','));
    let joined: String = parts
        .map(|part| part.trim().trim_end_matches('/'))
        .collect();
    joined.parse().unwrap_or_default()
}

/// Stores the prefix in the request's extensions, and cuts it off the request's path if the proxy
/// has not.
pub(crate) fn take(app: &App, peer: IpAddr, request: &mut Request) -> RootPath {
    let prefix = choose(app, peer, request.headers());
    if !prefix.as_str().is_empty() {
        if let Some(uri) = without(request.uri(), prefix.as_str()) {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(prefix.clone());
    }
    prefix
}

fn without(uri: &Uri, prefix: &str) -> Option<Uri> {
    let target = uri.path_and_query()?.as_str();
    let rest = target.strip_prefix(prefix)?;
    let rest = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        None | Some(b'?') => format!("/{rest}"),
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(rest).ok()?);
    Uri::from_parts(parts).ok()
}

/// Prepends the prefix to `Location`.
pub(crate) fn lead_back(prefix: &RootPath, answer: &mut Response) {
    let headers = answer.headers_mut();
    let path = headers
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .filter(|location| location.starts_with('/') && !prefix.as_str().is_empty());
    if let Some(path) = path
        && let Ok(location) = HeaderValue::try_from(format!("{}{path}", prefix.as_str()))
    {
        headers.insert(LOCATION, location);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_a_proxy_left_is_taken_off() {
        let check = |target: &str, expected: Option<&str>| {
            let uri = without(&target.parse().unwrap(), "/app1");
            assert_eq!(
                uri.map(|uri| uri.to_string()).as_deref(),
                expected,
                "{target}"
            );
        };
        check("/app1/run?a=b", Some("/run?a=b"));
        check("/app1", Some("/"));
        check("/app1?a", Some("/?a"));
        check("/app12/run", None);
        check("/run", None);
    }
}
