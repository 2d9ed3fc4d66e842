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
use futures_util::future::Either;
use service::access::Scope;

use crate::app::App;
use crate::refusal::{Refusal, Trouble};
use crate::request::caller::{self, Caller};
use crate::request::{accept, body};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Anyone.
    Open,
    /// Anyone gets the page, in which nothing stands of what is served; what is not a page needs a key.
    Page,
    /// Whoever has a key, whatever its scopes: it tells what is served, and nothing of jobs.
    AnyKey,
    /// A key with that scope.
    Run,
    /// A key with that scope.
    Read,
    /// A key with that scope.
    Metrics,
    /// A key with that scope.
    Admin,
}

impl Need {
    /// The scope it takes.
    pub(crate) fn scope(self) -> Option<Scope> {
        match self {
            Self::Open | Self::Page | Self::AnyKey => None,
            Self::Run => Some(Scope::Run),
            Self::Read => Some(Scope::Read),
            Self::Metrics => Some(Scope::Metrics),
            Self::Admin => Some(Scope::Admin),
        }
    }
}

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
    type Future = Either<H::Future, Ready<Response>>;

    fn call(self, mut request: Request, app: App) -> Self::Future {
        match admit(&app, self.need, &request) {
            Ok(Caller::Open) => Either::Left(self.handler.call(request, app)),
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.handler.call(request, app))
            }
            Err(refusal) => {
                let (parts, body) = request.into_parts();
                // A client that is still sending can read the answer; one that asked first sends nothing.
                if !body.is_end_stream() && !parts.headers.contains_key(header::EXPECT) {
                    body::drain(&app, body);
                }
                Either::Right(ready(refusal.into_response()))
            }
        }
    }
}

fn admit(app: &App, need: Need, request: &Request) -> Result<Caller, Refusal> {
    let Some(access) = app.access() else {
        return Ok(Caller::Open);
    };
    if need == Need::Open {
        return Ok(Caller::Anonymous);
    }
    let presented = caller::presented(request.headers());
    let Some(identity) = presented.and_then(|key| access.identify(key)) else {
        let wants_page = matches!(*request.method(), Method::GET | Method::HEAD)
            && accept::prefers(request.headers(), accept::HTML, accept::JSON);
        return if need == Need::Page && wants_page {
            Ok(Caller::Anonymous)
        } else {
            Err(no_key())
        };
    };
    match need.scope() {
        Some(scope) if !identity.allows(scope) => Err(no_scope(scope)),
        _ => Ok(Caller::Key(identity)),
    }
}

/// The same whatever was wrong: which part of a guess was right is nobody's business.
fn no_key() -> Refusal {
    let detail =
        "This needs a good API key; send it as `Authorization: Bearer fm_…` or as `X-API-Key`.";
    Trouble::of_request(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .authenticate()
        .into()
}

fn no_scope(scope: Scope) -> Refusal {
    let detail = format!(
        "This needs an API key with the scope `{}`, which yours does not have.",
        scope.as_str()
    );
    Trouble::of_request(StatusCode::FORBIDDEN, "scope_missing", detail).into()
}
