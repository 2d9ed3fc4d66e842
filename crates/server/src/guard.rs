//! Checks who calls an endpoint, before anything of the request is read.
//!
//! The table of endpoints names a [`Need`] for each, so none can be without. If no keys are in use,
//! only requests per client are counted.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::{Either, Map};
use service::access::{Identity, Scope};

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
    type Future =
        Either<H::Future, Either<Map<H::Future, AddHeaders>, Either<Ready<Response>, Slow>>>;

    fn call(self, request: Request, app: App) -> Self::Future {
        match admit(&app, self.need, &request) {
            Admission::Now(Ok((caller, headers))) => {
                let answer = self.handler.call(identified(request, caller), app);
                match headers {
                    None => Either::Left(answer),
                    Some(headers) => Either::Right(Either::Left(answer.map(adding(headers)))),
                }
            }
            Admission::Now(Err(refusal)) => {
                let refused = ready(refuse(&app, request, refusal));
                Either::Right(Either::Right(Either::Left(refused)))
            }
            Admission::ByStore(identity) => {
                let answer = self.admitted_by_store(request, app, identity);
                Either::Right(Either::Right(Either::Right(Box::pin(answer))))
            }
        }
    }
}

impl<H> Guarded<H> {
    /// For a key whose requests the store counts for all replicas.
    async fn admitted_by_store<T>(
        self,
        request: Request,
        app: App,
        identity: Arc<Identity>,
    ) -> Response
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let counted = limits::of_key_in_store(&app, &identity).await;
        match counted.and_then(|headers| scoped(self.need, identity, headers)) {
            Ok((caller, headers)) => {
                let mut answer = self.handler.call(identified(request, caller), app).await;
                if let Some(headers) = headers {
                    headers.add_to(answer.headers_mut());
                }
                answer
            }
            Err(refusal) => refuse(&app, request, refusal),
        }
    }
}

/// An answer that waits for the store before its handler is called.
type Slow = Pin<Box<dyn Future<Output = Response> + Send>>;

fn identified(mut request: Request, caller: Caller) -> Request {
    if !matches!(caller, Caller::Open) {
        request.extensions_mut().insert(caller);
    }
    request
}

fn refuse(app: &App, request: Request, refusal: Refusal) -> Response {
    let (parts, body) = request.into_parts();
    // The body is read, so that a client that is still sending can read the answer. One that sent
    // `Expect` sends no body.
    if !body.is_end_stream() && !parts.headers.contains_key(header::EXPECT) {
        body::drain(app, body);
    }
    refusal.into_response()
}

/// Adds the rate-limit headers to an answer.
type AddHeaders = Box<dyn FnOnce(Response) -> Response + Send>;

fn adding(headers: RateLimitHeaders) -> AddHeaders {
    Box::new(|mut answer| {
        headers.add_to(answer.headers_mut());
        answer
    })
}

/// The caller, and the headers of the limit that counted the request.
type Admitted = Result<(Caller, Option<RateLimitHeaders>), Refusal>;

enum Admission {
    Now(Admitted),
    /// The store has to count the request first.
    ByStore(Arc<Identity>),
}

/// A key is checked before an address is counted: a valid key is not kept out by others behind the
/// same address. This leaves guesses at keys unlimited, which is no risk: a secret has 256 bits.
fn admit(app: &App, need: Need, request: &Request) -> Admission {
    let Some(access) = app.access() else {
        return Admission::Now(match need {
            Need::Probe => Ok((Caller::Open, None)),
            _ => limits::of_address(app, request).map(|headers| (Caller::Open, headers)),
        });
    };
    match need {
        Need::Probe => return Admission::Now(Ok((Caller::Anonymous, None))),
        Need::Open => {
            let counted = limits::of_address(app, request);
            return Admission::Now(counted.map(|headers| (Caller::Anonymous, headers)));
        }
        Need::Page | Need::AnyKey | Need::Run | Need::Read | Need::Metrics | Need::Admin => {}
    }
    let presented = caller::presented(request.headers());
    let Some(identity) = presented.and_then(|key| access.identify(key)) else {
        return Admission::Now(admit_without_key(app, need, request));
    };
    match limits::of_key(app, &identity) {
        Some(counted) => {
            Admission::Now(counted.and_then(|headers| scoped(need, identity, headers)))
        }
        None => Admission::ByStore(identity),
    }
}

fn admit_without_key(app: &App, need: Need, request: &Request) -> Admitted {
    let headers = limits::of_address(app, request)?;
    let wants_page = matches!(*request.method(), Method::GET | Method::HEAD)
        && accept::prefers(request.headers(), accept::HTML, accept::JSON);
    if need == Need::Page && wants_page {
        Ok((Caller::Anonymous, headers))
    } else {
        Err(no_key())
    }
}

/// The holder of a key whose request was counted, if the key has the scope.
fn scoped(need: Need, identity: Arc<Identity>, headers: Option<RateLimitHeaders>) -> Admitted {
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
