//! Turning a shape into a response.

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

/// A JSON answer that is written already.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // For those that every answer gets on its way out, too.
    headers.reserve(USUAL_HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(accept::JSON));
    response
}

/// A map that grows is made anew.
const USUAL_HEADERS: usize = 12;

/// What most answers fit in: a buffer that grows is copied each time.
const USUAL_BYTES: usize = 1_024;

/// The bytes of a shape.
pub(crate) fn to_json(shape: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, shape)
        .expect("our shapes have text keys and no part that fails");
    bytes
}
