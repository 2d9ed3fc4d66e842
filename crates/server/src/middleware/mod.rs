//! What every request passes, in order: it gets an id, its panic becomes a problem, its refusal gets
//! a body. One function around the router instead of a stack of layers: no box and no clone per step.

mod request_id;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tower::Service;

use crate::app::App;
use crate::refusal::{self, Refusal, Trouble};
use crate::request::accept;

/// Answers one request.
pub(crate) async fn answer(app: &App, router: &mut Router, request: Request<Body>) -> Response {
    let request_id = request_id::choose(request.headers(), &**app.service().host());
    let as_problem = accept::names(request.headers(), accept::PROBLEM);
    let (method, uri) = (request.method().clone(), request.uri().clone());

    let outcome = AssertUnwindSafe(router.call(request)).catch_unwind().await;
    let mut response = outcome.map_or_else(
        |panic| {
            tracing::error!(request_id = ?request_id, %method, path = uri.path(), panic = panic_text(&*panic), "a request's handler panicked");
            Refusal::from(Trouble::internal()).into_response()
        },
        |answer| answer.unwrap_or_else(|never: Infallible| match never {}),
    );
    refusal::render(&mut response, as_problem, || {
        format!("{}#{}", uri.path(), request_id.to_str().unwrap_or_default())
    });
    tracing::debug!(request_id = ?request_id, %method, path = uri.path(), status = response.status().as_u16(), "answered");
    response
        .headers_mut()
        .insert(request_id::HEADER, request_id);
    response
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
