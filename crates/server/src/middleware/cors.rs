//! Requests from web pages of other origins. A browser lets a page read answers only if the server
//! allows its origin (CORS); only origins that the operator names are allowed. Pages can *send*
//! some requests all the same; a server without API keys refuses those that could start something.

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST,
    ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body;

/// The methods and headers that pages may send, and the headers they may read: all that the API
/// knows.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE");
const SENT: HeaderValue = HeaderValue::from_static(
    "Authorization, X-API-Key, Content-Type, Accept, Prefer, Cancel-After, Idempotency-Key, Last-Event-ID, \
     If-None-Match, X-Request-Id, traceparent, tracestate",
);
const SHOWN: HeaderValue = HeaderValue::from_static(
    "Location, Retry-After, Preference-Applied, Idempotency-Replayed, ETag, RateLimit, RateLimit-Policy, \
     WWW-Authenticate, X-Request-Id",
);
/// Seconds for which a browser may cache the answer to a preflight request.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The CORS headers of the answer to this request; `None` if no origins are allowed.
pub(super) fn headers_for(app: &App, request: &Request) -> Option<CorsHeaders> {
    let origins = &app.settings().origins;
    if origins.is_empty() {
        return None;
    }
    let origin = request.headers().get(ORIGIN);
    Some(CorsHeaders {
        allowed: origin.and_then(|origin| origins.allowed(origin)),
        varies: !origins.allow_any(),
    })
}

/// The CORS headers of one answer.
#[derive(Debug)]
pub(super) struct CorsHeaders {
    allowed: Option<HeaderValue>,
    /// The answer depends on the origin.
    varies: bool,
}

impl CorsHeaders {
    /// The answer to a preflight request, which comes without a key; `None` if this is not one.
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

/// Refuses a request that a page of another site made its visitor's browser send, if this server
/// has no keys: visiting a page must not start runs.
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
    let detail = "A web page of another origin sent this request; the server accepts such requests only from \
         origins that --cors-origin names.";
    Some(ProblemAnswer::of_request(StatusCode::FORBIDDEN, "foreign_origin", detail).into())
}

/// Judges by the headers that browsers add. Other clients do not send them.
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
    // Browsers leave `Sec-Fetch-Site` out over plain HTTP, except to loopback.
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split("://").nth(1));
    authority.is_none() || authority != headers.get(HOST).and_then(|host| host.to_str().ok())
}
