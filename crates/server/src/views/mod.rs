//! The JSON that leaves the server. Keys here are a promise: later versions add, never rename or drop.

pub(crate) mod fault;
pub(crate) mod overview;
pub(crate) mod rate_limit;
pub(crate) mod reading;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod sse;

pub use service::document::{Document, Row};
