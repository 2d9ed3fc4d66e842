//! The endpoints: one file for each, with its documentation, its handler and what it refuses, and
//! one row in the table below.
//!
//! The router, the permissions ([`Need`]), the names in telemetry and the `OpenAPI` document all
//! come from the table, so an endpoint cannot be in one of them and not in another.

mod docs_page;
mod health;
mod health_live;
mod health_ready;
mod job_cancel;
mod job_delete;
pub(crate) mod job_events;
pub(crate) mod job_retry;
mod jobs_create;
pub(crate) mod jobs_list;
mod key_revoke;
pub(crate) mod key_rotate;
mod keys;
pub(crate) mod keys_create;
mod keys_list;
mod metrics;
mod openapi_json;
mod root;
mod run;
mod schema;
mod status;
mod submission;
mod ui_file;
mod usage;
mod workflow;
mod workflows;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::app::App;
use crate::guard::Guarded;
use crate::need::Need;
use crate::openapi::endpoint::{Endpoint, Method, Scope};

/// Rows of `METHOD NEED PATH => MODULE`, in three sections. The module's `handle` answers and its
/// `docs` documents.
macro_rules! endpoints {
    (
        workflow { $($w_method:ident $w_need:ident $w_path:literal => $w_module:ident,)+ }
        server { $($s_method:ident $s_need:ident $s_path:literal => $s_module:ident,)+ }
        files { $($f_method:ident $f_need:ident $f_path:literal => $f_module:ident,)+ }
    ) => {
        /// Every endpoint, in the order of the table; those of a workflow first at the root, then
        /// by name.
        pub(crate) static ENDPOINTS: &[Endpoint] = &[
            $(
                Endpoint {
                    method: Method::$w_method,
                    need: Need::$w_need,
                    path: $w_path,
                    scope: Scope::Root,
                    docs: Some($w_module::docs),
                },
                Endpoint {
                    method: Method::$w_method,
                    need: Need::$w_need,
                    path: concat!("/workflows/{name}", $w_path),
                    scope: Scope::Named,
                    docs: Some($w_module::docs),
                },
            )+
            $(Endpoint {
                method: Method::$s_method,
                need: Need::$s_need,
                path: $s_path,
                scope: Scope::Server,
                docs: Some($s_module::docs),
            },)+
            $(Endpoint {
                method: Method::$f_method,
                need: Need::$f_need,
                path: $f_path,
                scope: Scope::Server,
                docs: None,
            },)+
        ];

        /// The handlers of [`ENDPOINTS`], in the same order.
        static HANDLERS: &[fn(&Endpoint) -> MethodRouter<App>] = &[
            $(
                |endpoint| guarded(endpoint, $w_module::handle),
                |endpoint| guarded(endpoint, $w_module::handle),
            )+
            $(|endpoint| guarded(endpoint, $s_module::handle),)+
            $(|endpoint| guarded(endpoint, $f_module::handle),)+
        ];
    };
}

endpoints! {
    // Of each workflow: below `/workflows/{name}`, and at the root if it is the only one.
    workflow {
        Post    Run     "/run"                      => run,
        Get     AnyKey  "/schema"                   => schema,
        Get     AnyKey  "/openapi.json"             => openapi_json,
        Get     Page    "/docs"                     => docs_page,
    }
    server {
        Get     Page    "/"                         => root,
        Get     AnyKey  "/workflows"                => workflows,
        Get     Page    "/workflows/{name}"         => workflow,
        Get     Probe   "/health"                   => health,
        Get     Probe   "/health/live"              => health_live,
        Get     Probe   "/health/ready"             => health_ready,
        Get     Metrics "/metrics"                  => metrics,

        Get     Read    "/status/{job_id}"          => status,
        Post    Run     "/jobs"                     => jobs_create,
        Get     Read    "/jobs"                     => jobs_list,
        Get     Read    "/jobs/{job_id}"            => status,
        Delete  Run     "/jobs/{job_id}"            => job_delete,
        Get     Read    "/jobs/{job_id}/events"     => job_events,
        Post    Run     "/jobs/{job_id}/cancel"     => job_cancel,
        Post    Run     "/cancel/{job_id}"          => job_cancel,
        Post    Run     "/jobs/{job_id}/retry"      => job_retry,

        Get     Admin   "/keys"                     => keys_list,
        Post    Admin   "/keys"                     => keys_create,
        Post    Admin   "/keys/{key_id}/rotate"     => key_rotate,
        Delete  Admin   "/keys/{key_id}"            => key_revoke,
        Get     Read    "/usage"                    => usage,
    }
    // What the pages load: not part of the API, and not documented.
    files {
        Get     Open    "/ui/{file}"                => ui_file,
    }
}

/// Every endpoint with its handler behind its guard.
pub(crate) fn handlers() -> impl Iterator<Item = (&'static Endpoint, MethodRouter<App>)> {
    ENDPOINTS
        .iter()
        .zip(HANDLERS)
        .map(|(endpoint, handler)| (endpoint, handler(endpoint)))
}

fn guarded<H, T>(endpoint: &Endpoint, handler: H) -> MethodRouter<App>
where
    H: Handler<T, App>,
    T: 'static,
{
    let filter = match endpoint.method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Delete => MethodFilter::DELETE,
    };
    let need = endpoint.need;
    on(filter, Guarded { need, handler })
}
