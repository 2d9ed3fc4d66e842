//! Every route in one place.

use std::collections::BTreeMap;

use axum::Router;
use axum::handler::Handler;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, any, on};

use crate::app::App;
use crate::guard::{Guarded, Need};
use crate::openapi::{Docs, Documented, Scope};
use crate::refusal::Refusal;
use crate::routes::{
    docs_page, health, health_live, health_ready, job_cancel, job_delete, job_events, job_retry,
    jobs_create, jobs_list, key_revoke, key_rotate, keys_create, keys_list, metrics, openapi_json,
    root, run, schema, status, ui_file, usage, workflow, workflows,
};

/// `METHOD NEED PATH => MODULE` for each endpoint: who may use it ([`Need`]); its `handle` answers, its
/// `docs` documents it.
macro_rules! routes {
    ($table:ident.$kind:ident { $($method:ident $need:ident $path:literal => $endpoint:ident,)+ }) => {
        $($table.$kind((Method::$method, Need::$need), $path, $endpoint::handle, $endpoint::docs);)+
    };
}

/// The table of contents. `single`: exactly one workflow is served, so the root paths mean it.
fn table(single: bool) -> Table {
    let mut table = Table {
        single,
        ..Table::default()
    };
    // Each workflow: under `/workflows/{name}`, and at the root when it is the only one.
    routes! { table.of_workflow {
        Post    Run     "/run"                      => run,
        Get     AnyKey  "/schema"                   => schema,
        Get     AnyKey  "/openapi.json"             => openapi_json,
        Get     Page    "/docs"                     => docs_page,
    } }
    // The server as a whole.
    routes! { table.shared {
        Get     Page    "/"                         => root,
        Get     AnyKey  "/workflows"                => workflows,
        Get     Page    "/workflows/{name}"         => workflow,
        Get     Probe   "/health"                   => health,
        Get     Probe   "/health/live"              => health_live,
        Get     Probe   "/health/ready"             => health_ready,
        Get     Metrics "/metrics"                  => metrics,
    } }
    // Jobs, of whichever workflow.
    routes! { table.shared {
        Get     Read    "/status/{job_id}"          => status,
        Post    Run     "/jobs"                     => jobs_create,
        Get     Read    "/jobs"                     => jobs_list,
        Get     Read    "/jobs/{job_id}"            => status,
        Delete  Run     "/jobs/{job_id}"            => job_delete,
        Get     Read    "/jobs/{job_id}/events"     => job_events,
        Post    Run     "/jobs/{job_id}/cancel"     => job_cancel,
        Post    Run     "/cancel/{job_id}"          => job_cancel,
        Post    Run     "/jobs/{job_id}/retry"      => job_retry,
    } }
    // API keys.
    routes! { table.shared {
        Get     Admin   "/keys"                     => keys_list,
        Post    Admin   "/keys"                     => keys_create,
        Post    Admin   "/keys/{key_id}/rotate"     => key_rotate,
        Delete  Admin   "/keys/{key_id}"            => key_revoke,
        Get     Read    "/usage"                    => usage,
    } }
    // What the pages load; no part of the API.
    table.page_file("/ui/{file}", ui_file::handle);
    table
}

/// The router behind [`crate::serve()`].
pub(crate) fn build(app: &App) -> Router {
    let mut router = Router::new();
    for (path, methods) in table(app.has_root_paths()).routes {
        if path != "/" {
            router = router.route(&format!("{path}/"), any(open(without_trailing_slash)));
        }
        router = router.route(&path, methods);
    }
    router
        .fallback(open(async || Refusal::NotFound("Not Found")))
        .method_not_allowed_fallback(open(async || Refusal::MethodNotAllowed))
        .with_state(app.clone())
}

/// For anyone, and counted like every request: whoever only guesses at paths is slowed down, too.
fn open<H>(handler: H) -> Guarded<H> {
    Guarded {
        need: Need::Open,
        handler,
    }
}

/// The documentation of every route.
pub(crate) fn documented(single: bool) -> Vec<Documented> {
    table(single).documented
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

#[derive(Debug, Clone, Copy)]
enum Method {
    Get,
    Post,
    Delete,
}

/// Which requests a route is for.
type On = (Method, Need);

#[derive(Default)]
struct Table {
    single: bool,
    routes: BTreeMap<String, MethodRouter<App>>,
    documented: Vec<Documented>,
}

impl Table {
    fn of_workflow<H, T>(&mut self, on: On, path: &'static str, handler: H, docs: Docs)
    where
        H: Handler<T, App>,
        T: 'static,
    {
        if self.single {
            self.add(
                on,
                path.to_owned(),
                handler.clone(),
                Some((Scope::Root, docs)),
            );
        }
        self.add(
            on,
            format!("/workflows/{{name}}{path}"),
            handler,
            Some((Scope::Named, docs)),
        );
    }

    fn shared<H, T>(&mut self, on: On, path: &'static str, handler: H, docs: Docs)
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(on, path.to_owned(), handler, Some((Scope::Shared, docs)));
    }

    fn page_file<H, T>(&mut self, path: &'static str, handler: H)
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add((Method::Get, Need::Open), path.to_owned(), handler, None);
    }

    fn add<H, T>(
        &mut self,
        (method, need): On,
        path: String,
        handler: H,
        docs: Option<(Scope, Docs)>,
    ) where
        H: Handler<T, App>,
        T: 'static,
    {
        let (filter, name) = match method {
            Method::Get => (MethodFilter::GET, "get"),
            Method::Post => (MethodFilter::POST, "post"),
            Method::Delete => (MethodFilter::DELETE, "delete"),
        };
        if let Some((scope, docs)) = docs {
            self.documented.push(Documented {
                method: name,
                path: path.clone(),
                scope,
                need,
                docs,
            });
        }
        let methods = self.routes.remove(&path).unwrap_or_default();
        self.routes
            .insert(path, methods.merge(on(filter, Guarded { need, handler })));
    }
}
