//! Web pages of other origins. A browser lets them read answers only where a server says so (CORS), which is said
//! for no origin unless the operator names it. They can *send* some requests all the same; a server that asks for
//! no keys refuses those that could start something.

use std::str::FromStr;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST,
    ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body;

/// The origins whose pages may call the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    named: Vec<HeaderValue>,
}

/// One of them: `https://app.example`, or `*` for every origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

const ANY: &str = "*";

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let unfit = || {
            format!(
                "`{text}` is no origin; write one such as https://app.example or http://localhost:3000, or *"
            )
        };
        if text == ANY {
            return Ok(Self(HeaderValue::from_static(ANY)));
        }
        if text.contains('*') {
            return Err(format!(
                "`{text}` would never match: an origin is compared whole; name each one, or write * alone for all"
            ));
        }
        let uri: Uri = text.parse().map_err(|_| unfit())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().ok_or_else(unfit)?;
        let is_bare = uri.path() == "/" && uri.query().is_none() && !text.ends_with('/');
        if !is_web || !is_bare || authority.as_str().contains('@') {
            return Err(unfit());
        }
        // As browsers write it.
        let text = text.to_ascii_lowercase();
        let text = match uri.scheme_str() {
            Some("https") => text.strip_suffix(":443").unwrap_or(&text),
            _ => text.strip_suffix(":80").unwrap_or(&text),
        };
        text.parse().map(Self).map_err(|_| unfit())
    }
}

impl FromIterator<Origin> for Origins {
    fn from_iter<T: IntoIterator<Item = Origin>>(origins: T) -> Self {
        let mut all = Self::default();
        for Origin(origin) in origins {
            if origin == ANY {
                all.any = true;
            } else {
                all.named.push(origin);
            }
        }
        all
    }
}

/// Methods and headers that pages may use, and headers they may read: all that the API knows.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE");
const SENT: HeaderValue = HeaderValue::from_static(
    "Authorization, X-API-Key, Content-Type, Accept, Prefer, Cancel-After, Idempotency-Key, Last-Event-ID, \
     If-None-Match, X-Request-Id, traceparent, tracestate",
);
const SHOWN: HeaderValue = HeaderValue::from_static(
    "Location, Retry-After, Preference-Applied, Idempotency-Replayed, ETag, RateLimit, RateLimit-Policy, \
     WWW-Authenticate, X-Request-Id",
);
/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

impl Origins {
    fn is_off(&self) -> bool {
        !self.any && self.named.is_empty()
    }

    /// What a page of that origin is told, if it may call the API.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.any {
            return Some(HeaderValue::from_static(ANY));
        }
        self.named.contains(origin).then(|| origin.clone())
    }
}

/// What the answer to this request says to a browser: `None` where nothing is to be said.
pub(super) fn headers_for(app: &App, request: &Request) -> Option<CorsHeaders> {
    let origins = &app.settings().origins;
    if origins.is_off() {
        return None;
    }
    let origin = request.headers().get(ORIGIN);
    Some(CorsHeaders {
        allowed: origin.and_then(|origin| origins.allowed(origin)),
        varies: !origins.any,
    })
}

/// The CORS headers of one answer.
#[derive(Debug)]
pub(super) struct CorsHeaders {
    allowed: Option<HeaderValue>,
    /// Another origin would get another answer.
    varies: bool,
}

impl CorsHeaders {
    /// The answer to a browser that asks whether a page may send its request. It comes without a key.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        let asks = request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || self.allowed.is_none() {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(response)
    }

    pub(super) fn add_to(self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(allowed) = self.allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN);
        }
    }
}

/// The refusal of a request that a page of another site had its reader's browser send, where no key would be
/// missed in it: a visitor of that page must not start runs on this machine unawares.
pub(super) fn refuse_foreign(app: &App, request: &mut Request) -> Option<Refusal> {
    let is_safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if is_safe || app.access().is_some() || !is_foreign(app, request.headers()) {
        return None;
    }
    let body = std::mem::replace(request.body_mut(), Body::empty());
    if !body.is_end_stream() {
        body::drain(app, body);
    }
    let detail = "A web page of another origin sent this; the server takes that only from origins that \
         --cors-origin names.";
    Some(ProblemAnswer::of_request(StatusCode::FORBIDDEN, "foreign_origin", detail).into())
}

/// By what browsers say of themselves; other clients say nothing of the kind.
fn is_foreign(app: &App, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    if app.settings().origins.allowed(origin).is_some() {
        return false;
    }
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    // Sent over plain HTTP to something other than this machine.
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split("://").nth(1));
    authority.is_none() || authority != headers.get(HOST).and_then(|host| host.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_as_browsers_write_them() {
        let check = |text: &str, expected: Option<&str>| {
            let origin = text.parse::<Origin>().ok();
            let shown = origin
                .as_ref()
                .map(|Origin(origin)| origin.to_str().expect("ASCII"));
            assert_eq!(shown, expected, "{text}");
        };
        check("https://app.example", Some("https://app.example"));
        check("https://APP.example:443", Some("https://app.example"));
        check("http://localhost:3000", Some("http://localhost:3000"));
        check("http://[::1]:80", Some("http://[::1]"));
        check("*", Some("*"));
        for text in [
            "",
            "null",
            "app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?x",
            "https://me@app.example",
            "ftp://app.example",
            "https://*.example/",
            "https://*.example",
            "http://localhost:*",
            "*.example",
        ] {
            check(text, None);
        }
    }
}
