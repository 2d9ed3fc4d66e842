//! Checks of `Host` and `Transfer-Encoding`: that they have the form of RFC 9112, and, on a server
//! without keys, that the name is one of ours. A page whose own name was made to resolve to this
//! machine (DNS rebinding) is of the same origin to its browser; only `Host` gives it away.

use std::net::IpAddr;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{HOST, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Version};

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body;

/// Refuses a head that is ambiguous, or meant for another server.
pub(super) fn refuse(app: &App, request: &mut Request) -> Option<Refusal> {
    let problem = malformed(request).or_else(|| foreign(app, request))?;
    let body = std::mem::replace(request.body_mut(), Body::empty());
    if !body.is_end_stream() {
        body::drain(app, body);
    }
    Some(problem.close().into())
}

fn malformed(request: &Request) -> Option<ProblemAnswer> {
    let bad = |code, detail: &str| ProblemAnswer::of_request(StatusCode::BAD_REQUEST, code, detail);
    let headers = request.headers();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let is_chunked = coding.is_none_or(|coding| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    });
    if !is_chunked || codings.next().is_some() {
        let detail = "The request's Transfer-Encoding is not `chunked`, which is the only one this server accepts.";
        return Some(bad("transfer_encoding_not_supported", detail));
    }
    let hosts = headers.get_all(HOST).iter().count();
    let needs_one = request.version() == Version::HTTP_11;
    if hosts > 1 || needs_one && hosts == 0 {
        let detail = "A request must have exactly one Host header.";
        return Some(bad("host_invalid", detail));
    }
    None
}

fn foreign(app: &App, request: &Request) -> Option<ProblemAnswer> {
    let allowed = app.settings().allowed_hosts.as_ref()?;
    let of_target = request.uri().authority().map(Authority::as_str);
    let of_header = request.headers().get(HOST);
    let of_header = of_header.map(|host| host.to_str().unwrap_or("?"));
    let is_ours = |authority: &str| {
        if is_usual(authority) {
            return true;
        }
        let Some(host) = host_of(authority) else {
            return false;
        };
        let is_local = host == "localhost" || host.ends_with(".localhost");
        let is_address = host
            .parse::<IpAddr>()
            .is_ok_and(|address| allowed.any_address || address.to_canonical().is_loopback());
        is_local || is_address || allowed.named.iter().any(|allowed| allowed.is(&host))
    };
    if of_target.into_iter().chain(of_header).all(is_ours) {
        return None;
    }
    let detail = "The Host header of the request names another server; the operator can allow that name with \
         --allowed-host.";
    Some(ProblemAnswer::of_request(
        StatusCode::FORBIDDEN,
        "foreign_host",
        detail,
    ))
}

/// Whether that is, spelled as nearly every client does, a name of this machine that is always
/// allowed. Spares those requests the reading of an authority.
fn is_usual(authority: &str) -> bool {
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let is_port = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    is_port && (host == "localhost" || host == "127.0.0.1")
}

/// The host in lower case, without the port, brackets, and a dot at the end.
fn host_of(authority: &str) -> Option<String> {
    let authority = authority.parse::<Authority>().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host().to_ascii_lowercase();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(host.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_of_this_machine_are_known_as_they_stand() {
        for authority in ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:80"] {
            assert!(is_usual(authority), "{authority}");
        }
        for authority in [
            "localhost.evil.example",
            "localhost:80@evil.example",
            "127.0.0.1.evil.example:80",
            "evil.example:127",
            "localhost:8000:1",
            "",
        ] {
            assert!(!is_usual(authority), "{authority}");
        }
    }

    #[test]
    fn a_host_is_compared_without_its_port() {
        let check = |authority: &str, expected: Option<&str>| {
            assert_eq!(host_of(authority).as_deref(), expected, "{authority}");
        };
        check("localhost:8000", Some("localhost"));
        check("LocalHost.", Some("localhost"));
        check("127.0.0.1", Some("127.0.0.1"));
        check("[::1]:8000", Some("::1"));
        check("me@localhost", None);
        check("", None);
    }
}
