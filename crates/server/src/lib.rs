//! flowmill's HTTP API: routes, JSON shapes, status codes, `OpenAPI`, server-sent events, the embedded
//! pages. The one crate that knows axum and hyper; it decides nothing, [`service`] does.
//!
//! `router` is the table of contents. A request passes `middleware` and `guard`, is read by `request`,
//! handled by one file of `routes`, and shown by `views`; what is refused is a
//! `refusal::Refusal` and rendered in one place.

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
mod openapi;
mod refusal;
mod request;
mod router;
mod routes;
mod serve;
mod socket;
mod tls;
mod ui;
pub mod views;

pub use app::{App, Settings};
pub use middleware::cors::{Origin, Origins};
pub use middleware::host::{AllowedHost, AllowedHosts};
pub use openapi::of_only as openapi_document;
pub use request::prefix::RootPath;
pub use serve::{bind, serve};
pub use tls::{Tls, TlsError};
