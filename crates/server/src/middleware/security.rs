//! The headers that every answer carries, for browsers: what may be done with it. They are constants, and nothing
//! is allocated for their values.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, Entry, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::app::App;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// An answer is data: nothing in it is loaded or run, and it is shown in no frame. The pages have policies of
/// their own.
const OF_DATA: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Half a year, for this host alone.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=15768000");

/// Adds them to an answer that is complete otherwise.
pub(super) fn add(app: &App, headers: &mut HeaderMap) {
    headers.reserve(7);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if let Entry::Vacant(place) = headers.entry(CONTENT_SECURITY_POLICY) {
        place.insert(OF_DATA);
    }
    // Answers tell of runs and are nobody else's; files that are the same for everyone say so themselves.
    if let Entry::Vacant(place) = headers.entry(CACHE_CONTROL) {
        place.insert(HeaderValue::from_static("no-store"));
    }
    if app.settings().tls.is_some() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
    }
}
