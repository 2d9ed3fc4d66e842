//! Job records and the stores that keep them. Knows nothing of workflows, models or HTTP: inputs,
//! outputs, progress and events are opaque [`Json`](json::Json).

mod fairness;
pub mod forward;
pub mod job;
pub mod json;
pub mod key;
pub mod memory;
pub mod spend;
pub mod sqlite;
pub mod store;
pub mod webhook;
