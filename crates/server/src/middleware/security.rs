//! The security headers that every answer carries for browsers. Their values are constants, for
//! which nothing is allocated.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, Entry, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::app::App;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Answers are data: a browser must load or run nothing of them, and show them in no frame. The
/// pages have policies of their own.
const OF_DATA: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// HTTPS only, for half a year, and for this host alone.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=15768000");

/// Adds the headers to an answer that is complete otherwise.
pub(super) fn add(app: &App, headers: &mut HeaderMap) {
    headers.reserve(7);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if let Entry::Vacant(entry) = headers.entry(CONTENT_SECURITY_POLICY) {
        entry.insert(OF_DATA);
    }
    // Answers are about the caller's runs; files that are the same for everyone set their own.
    if let Entry::Vacant(entry) = headers.entry(CACHE_CONTROL) {
        entry.insert(HeaderValue::from_static("no-store"));
    }
    if app.settings().tls.is_some() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
    }
}
