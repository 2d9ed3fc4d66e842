//! From the table of endpoints to a router, and to the application behind it.

use std::collections::BTreeMap;

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use serde_json::Value;
use service::Service;
use service::catalog::LoadedWorkflow;
use telemetry::Telemetry;

use crate::app::App;
use crate::guard::Guarded;
use crate::need::Need;
use crate::openapi::endpoint::Scope;
use crate::openapi::{Documentation, Options};
use crate::refusal::Refusal;
use crate::routes;
use crate::settings::Settings;

impl App {
    /// The API of a service, open to everyone who reaches it. The root paths (`/run`,
    /// `/schema`, …) exist when `service` serves exactly one workflow at this moment.
    pub fn new(service: Service, settings: Settings) -> Self {
        let telemetry = Telemetry::counting(service.host().clone());
        Self::observed(service, settings, telemetry)
    }

    /// As [`App::new`], with the telemetry that also watches the service's runs.
    pub fn observed(service: Service, settings: Settings, telemetry: Telemetry) -> Self {
        Self::assembled(service, settings, telemetry, routes::ENDPOINTS)
    }
}

/// The `OpenAPI` document that a server of this one workflow gives at `/openapi.json` if no keys
/// are in use.
pub fn openapi_document(workflow: &LoadedWorkflow) -> Value {
    let options = Options {
        scope: Scope::Root,
        is_only: true,
        has_keys: false,
    };
    Documentation::of(routes::ENDPOINTS).document(workflow, options)
}

/// The router behind [`crate::serve()`].
pub(crate) fn build(app: &App) -> Router {
    let mut by_path: BTreeMap<&str, MethodRouter<App>> = BTreeMap::new();
    for (endpoint, methods) in routes::handlers() {
        if endpoint.scope == Scope::Root && !app.has_root_paths() {
            continue;
        }
        let others = by_path.remove(endpoint.path).unwrap_or_default();
        by_path.insert(endpoint.path, others.merge(methods));
    }
    let mut router = Router::new();
    for (path, methods) in by_path {
        if path != "/" {
            router = router.route(&format!("{path}/"), any(open(without_trailing_slash)));
        }
        router = router.route(path, methods);
    }
    router
        .fallback(open(async || Refusal::NotFound("Not Found")))
        .method_not_allowed_fallback(open(async || Refusal::MethodNotAllowed))
        .with_state(app.clone())
}

/// For anyone, but counted like every request, so that clients that guess paths are slowed down
/// too.
fn open<H>(handler: H) -> Guarded<H> {
    Guarded {
        need: Need::Open,
        handler,
    }
}

/// A path that exists but for the slash at its end: 307 keeps method and body.
async fn without_trailing_slash(uri: Uri) -> Response {
    let path = uri.path().trim_end_matches('/');
    let location = uri
        .query()
        .map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    (
        StatusCode::TEMPORARY_REDIRECT,
        [(header::LOCATION, location)],
    )
        .into_response()
}
