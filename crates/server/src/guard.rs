//! What each route asks of its callers, before anything of the request is read.
//!
//! The router's table names a [`Need`] for every route, so that none can be without. Where no keys are in
//! use a guarded handler is called as it is.

use std::future::{Ready, ready};

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::{Either, Map};
use service::access::Scope;

use crate::app::App;
use crate::limits;
use crate::need::Need;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::caller::{self, Caller};
use crate::request::{accept, body};
use crate::views::rate_limit::RateLimitHeaders;

/// A handler behind its need.
#[derive(Debug, Clone)]
pub(crate) struct Guarded<H> {
    pub(crate) need: Need,
    pub(crate) handler: H,
}

impl<H, T> Handler<T, App> for Guarded<H>
where
    H: Handler<T, App>,
    T: 'static,
{
    type Future = Either<H::Future, Either<Map<H::Future, AddHeaders>, Ready<Response>>>;

    fn call(self, mut request: Request, app: App) -> Self::Future {
        match admit(&app, self.need, &request) {
            Ok((caller, headers)) => {
                if !matches!(caller, Caller::Open) {
                    request.extensions_mut().insert(caller);
                }
                let answer = self.handler.call(request, app);
                match headers {
                    None => Either::Left(answer),
                    Some(headers) => Either::Right(Either::Left(answer.map(adding(headers)))),
                }
            }
            Err(refusal) => {
                let (parts, body) = request.into_parts();
                // A client that is still sending can read the answer; one that asked first sends nothing.
                if !body.is_end_stream() && !parts.headers.contains_key(header::EXPECT) {
                    body::drain(&app, body);
                }
                Either::Right(Either::Right(ready(refusal.into_response())))
            }
        }
    }
}

/// Adds the rate-limit headers to an answer.
type AddHeaders = Box<dyn FnOnce(Response) -> Response + Send>;

fn adding(headers: RateLimitHeaders) -> AddHeaders {
    Box::new(|mut answer| {
        headers.add_to(answer.headers_mut());
        answer
    })
}

/// Who asks, and how their limit of requests stands where there is one. A key is looked at before an address
/// is counted: good keys are not kept out by others behind the same address, and the guesses that this
/// allows at a secret of 256 bits are of no use.
fn admit(
    app: &App,
    need: Need,
    request: &Request,
) -> Result<(Caller, Option<RateLimitHeaders>), Refusal> {
    let Some(access) = app.access() else {
        let headers = match need {
            Need::Probe => None,
            _ => limits::of_address(app, request)?,
        };
        return Ok((Caller::Open, headers));
    };
    match need {
        Need::Probe => return Ok((Caller::Anonymous, None)),
        Need::Open => return Ok((Caller::Anonymous, limits::of_address(app, request)?)),
        Need::Page | Need::AnyKey | Need::Run | Need::Read | Need::Metrics | Need::Admin => {}
    }
    let presented = caller::presented(request.headers());
    let Some(identity) = presented.and_then(|key| access.identify(key)) else {
        let headers = limits::of_address(app, request)?;
        let wants_page = matches!(*request.method(), Method::GET | Method::HEAD)
            && accept::prefers(request.headers(), accept::HTML, accept::JSON);
        return if need == Need::Page && wants_page {
            Ok((Caller::Anonymous, headers))
        } else {
            Err(no_key())
        };
    };
    let headers = limits::of_key(app, &identity)?;
    match need.scope() {
        Some(scope) if !identity.allows(scope) => Err(no_scope(scope)),
        _ => Ok((Caller::Key(identity), headers)),
    }
}

/// The same whatever was wrong: which part of a guess was right is nobody's business.
fn no_key() -> Refusal {
    let detail =
        "This needs a good API key; send it as `Authorization: Bearer fm_…` or as `X-API-Key`.";
    ProblemAnswer::of_request(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .authenticate()
        .into()
}

fn no_scope(scope: Scope) -> Refusal {
    let detail = format!(
        "This needs an API key with the scope `{}`, which yours does not have.",
        scope.as_str()
    );
    ProblemAnswer::of_request(StatusCode::FORBIDDEN, "scope_missing", detail).into()
}
