//! Job records and the stores that keep them. Knows nothing of workflows, models or HTTP: inputs,
//! outputs and progress are opaque JSON.

pub mod job;
pub mod memory;
pub mod store;
