//! Bounds of a request's head. What is a little too much gets an answer that says so; a flood does not get this
//! far: the connection reads no more than twice as much.

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body;

/// Header fields.
const MAX_FIELDS: usize = 80;
/// Their names and values together, in bytes.
const MAX_FIELD_BYTES: usize = 32 << 10;
/// The path and the query, in bytes.
const MAX_TARGET_BYTES: usize = 8 << 10;

/// The refusal of a head that is too large. Its body is read away beside the answer.
pub(super) fn refuse(app: &App, request: &mut Request) -> Option<Refusal> {
    let target = request.uri().path_and_query();
    let problem = if target.is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES) {
        too_long()
    } else if is_too_large(request.headers()) {
        too_large()
    } else {
        return None;
    };
    let body = std::mem::replace(request.body_mut(), Body::empty());
    if !body.is_end_stream() {
        body::drain(app, body);
    }
    Some(problem.close().into())
}

fn is_too_large(headers: &HeaderMap) -> bool {
    let bytes = |headers: &HeaderMap| -> usize {
        headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum()
    };
    headers.len() > MAX_FIELDS || bytes(headers) > MAX_FIELD_BYTES
}

fn too_long() -> ProblemAnswer {
    let detail = format!(
        "The request's address is longer than the {MAX_TARGET_BYTES} bytes this server takes."
    );
    ProblemAnswer::of_request(StatusCode::URI_TOO_LONG, "uri_too_long", detail)
}

fn too_large() -> ProblemAnswer {
    let detail = format!(
        "The request has more than the {MAX_FIELDS} header fields, or the {MAX_FIELD_BYTES} bytes of them, that this \
         server takes."
    );
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    ProblemAnswer::of_request(status, "headers_too_large", detail)
}
