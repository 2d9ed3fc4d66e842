//! What happens around every request: it gets an id, its head and origin are checked, a panic of
//! its handler becomes a problem, a refusal gets its body, and the answer gets the headers that all
//! answers have. One function around the router instead of a stack of layers: no box and no clone
//! per step.

pub(crate) mod cors;
mod head;
pub(crate) mod host;
mod request_id;
mod route;
mod security;

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use engine::trace::TraceParent;
use futures_util::FutureExt;
use telemetry::{Answered, RequestSpan};
use tower::Service;

use crate::answer_budget::Exhausted;
use crate::app::App;
use crate::refusal::{self, ProblemAnswer, Refusal};
use crate::request::{accept, prefix};
use crate::views::delivery;

/// Sent while the server shuts down, so that the client opens its next connection to another one.
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Answers one request.
pub(crate) async fn answer(
    app: &App,
    router: &mut Router,
    peer: IpAddr,
    mut request: Request<Body>,
) -> Response {
    let prefix = prefix::take(app, peer, &mut request);
    let request_id = request_id::choose(request.headers(), &**app.service().host());
    let as_problem = accept::names(request.headers(), accept::PROBLEM);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let started = app.service().host().elapsed();
    let parent = trace_parent(request.headers());
    let span = app.telemetry().request(parent);
    if let Some(parent) = span.as_ref().map(RequestSpan::context).or(parent) {
        request.extensions_mut().insert(parent);
    }

    let cors_headers = cors::headers_for(app, &request);
    let mut response = if let Some(response) = before(app, cors_headers.as_ref(), &mut request) {
        response
    } else {
        let outcome = AssertUnwindSafe(router.call(request)).catch_unwind().await;
        outcome.map_or_else(
            |panic| {
                tracing::error!(request_id = ?request_id, %method, path = uri.path(), panic = panic_text(&*panic), "a request's handler panicked");
                Refusal::from(ProblemAnswer::internal()).into_response()
            },
            |answer| answer.unwrap_or_else(|never: Infallible| match never {}),
        )
    };
    if let Err(Exhausted) = app.answer_budget().reserve(&mut response)
        && method == Method::GET
        && app.service().keeps_results()
    {
        let detail = "Too many large answers are being sent at once; try again a little later.";
        response =
            Refusal::from(ProblemAnswer::unavailable("answers_busy", detail)).into_response();
    }
    refusal::render(&mut response, as_problem, || {
        let id = request_id.to_str().unwrap_or_default();
        format!("{}{}#{id}", prefix.as_str(), uri.path())
    });
    prefix::lead_back(&prefix, &mut response);
    tracing::debug!(request_id = ?request_id, %method, path = uri.path(), status = response.status().as_u16(), "answered");
    let answered = Answered {
        method: method_label(&method),
        route: route::pattern(uri.path()),
        path: uri.path(),
        status: response.status().as_u16(),
    };
    let took = app.service().host().elapsed().saturating_sub(started);
    app.telemetry().answered(span, &answered, took);
    let headers = response.headers_mut();
    security::add(app, headers);
    if let Some(cors_headers) = cors_headers {
        cors_headers.add_to(headers);
    }
    headers.insert(request_id::HEADER, request_id);
    if app.service().is_stopping() {
        headers.insert(CONNECTION, CLOSE);
    }
    if !app.service().keeps_results() {
        delivery::unmark_without_body(&method, &mut response);
    }
    response
}

/// The answer to a request that does not reach the router.
fn before(
    app: &App,
    cors_headers: Option<&cors::CorsHeaders>,
    request: &mut Request<Body>,
) -> Option<Response> {
    if let Some(refusal) = head::refuse(app, request).or_else(|| host::refuse(app, request)) {
        return Some(refusal.into_response());
    }
    cors_headers
        .and_then(|cors_headers| cors_headers.preflight(request))
        .or_else(|| cors::refuse_foreign(app, request).map(IntoResponse::into_response))
}

/// The caller's span in a distributed trace. An invalid `traceparent` counts as none.
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get("traceparent")?.to_str().ok()?.parse().ok()
}

/// A client can send any method; the values of a label are a closed set.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
