//! flowmill's HTTP API: routes, JSON shapes, status codes, `OpenAPI`, server-sent events, the
//! embedded pages. The one crate that knows axum and hyper; it decides nothing, [`service`] does.
//!
//! `routes` holds the table of endpoints, a row and a file for each. A request passes `middleware`
//! and `guard`, is read by `request`, handled by one file of `routes`, and shown by `views`; what
//! is refused is a `refusal::Refusal` and rendered in one place.
//!
//! Files do not import each other in circles: settings and shapes are at the bottom, then the state
//! (`app`), refusals, what reads requests, the endpoints, and the router on top.

mod allowed_hosts;
mod answer_budget;
mod app;
mod connection;
mod connection_limit;
/// What `fuzz/` calls; each function takes any bytes.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod limits;
mod log_throttle;
mod middleware;
mod need;
mod openapi;
mod origins;
mod paths;
mod refusal;
mod request;
mod root_path;
mod router;
mod routes;
mod serve;
mod settings;
mod socket;
mod tls;
mod ui;
pub mod views;

pub use allowed_hosts::{AllowedHost, AllowedHosts};
pub use app::App;
pub use origins::{Origin, Origins};
pub use root_path::RootPath;
pub use router::openapi_document;
pub use serve::{bind, serve};
pub use settings::Settings;
pub use tls::{Tls, TlsError};
