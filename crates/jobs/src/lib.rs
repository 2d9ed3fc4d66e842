//! Job records and the stores that keep them. Knows nothing of workflows, models or HTTP: inputs,
//! outputs, progress and events are opaque [`Json`](json::Json).

pub mod allotment;
mod allotments;
mod fairness;
pub mod forward;
mod id;
mod id_time;
pub mod job;
pub mod json;
pub mod key;
mod listing;
pub mod memory;
pub mod parking;
pub mod postgres;
pub mod replica;
mod replicas;
pub mod signals;
pub mod spend;
pub mod sqlite;
pub mod store;
pub mod webhook;
