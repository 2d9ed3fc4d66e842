//! The JSON that leaves the server. Keys here are a promise: later versions add, never rename or drop.

pub(crate) mod fault;
pub(crate) mod job;
pub(crate) mod overview;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod sse;
pub(crate) mod time;

pub use job::{Document, Row};
