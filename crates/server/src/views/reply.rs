//! Turning a view into a response.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::request::accept;

/// A JSON answer.
pub(crate) fn json(status: StatusCode, shape: &impl Serialize) -> Response {
    json_bytes(status, to_json(shape))
}

/// A JSON answer whose text is already there.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // Room for the headers that every answer gets, too.
    headers.reserve(USUAL_HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(accept::JSON));
    response
}

/// The number of headers that most answers have. A map of headers that grows is allocated anew.
const USUAL_HEADERS: usize = 12;

/// Bytes that most answers fit in. A buffer that grows is copied.
const USUAL_BYTES: usize = 1_024;

/// A view as JSON.
pub(crate) fn to_json(shape: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, shape)
        .expect("views have text keys and no `Serialize` that fails");
    bytes
}
