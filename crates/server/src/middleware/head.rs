//! Limits of a request's head. A head that is a little too large gets an answer that says so. A
//! much larger one does not get here: hyper reads no more than 64 KiB of it.

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body;

/// The most header fields.
const MAX_FIELDS: usize = 80;
/// The most bytes of their names and values.
const MAX_FIELD_BYTES: usize = 32 << 10;
/// The most bytes of path and query.
const MAX_TARGET_BYTES: usize = 8 << 10;

/// Refuses a head that is too large. The request's body is read and dropped beside the answer.
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
        "The request's address is longer than the {MAX_TARGET_BYTES} bytes this server accepts."
    );
    ProblemAnswer::of_request(StatusCode::URI_TOO_LONG, "uri_too_long", detail)
}

fn too_large() -> ProblemAnswer {
    let detail = format!(
        "The request has more than the {MAX_FIELDS} header fields, or the {MAX_FIELD_BYTES} bytes of them, that this \
         server accepts."
    );
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    ProblemAnswer::of_request(status, "headers_too_large", detail)
}
