//! The shapes of answers. Their JSON keys are a promise: later versions add to them, never rename
//! or drop one.

pub(crate) mod delivery;
pub(crate) mod fault;
pub(crate) mod health;
pub(crate) mod overview;
pub(crate) mod problem;
pub(crate) mod rate_limit;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod sse;

pub use service::document::{Document, Row};
