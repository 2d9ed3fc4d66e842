//! Checks who calls an endpoint, before anything of the request is read.
//!
//! The table of endpoints names a [`Need`] for each, so none can be without. If no keys are in use,
//! only requests per client are counted.

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

/// A handler that is called only for those who meet its need.
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
                // The body is read, so that a client that is still sending can read the answer. One
                // that sent `Expect` sends no body.
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

/// The caller, and the headers of the limit that counted the request. A key is checked before an
/// address is counted: a valid key is not kept out by others behind the same address. This leaves
/// guesses at keys unlimited, which is no risk: a secret has 256 bits.
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

/// The same answer whatever was wrong, so that a guess learns nothing from it.
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
