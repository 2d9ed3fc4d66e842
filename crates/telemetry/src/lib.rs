//! What flowmill tells of its own work: metrics for a scrape, spans for OpenTelemetry, runs and traces for
//! MLflow, and the look of log lines.
//!
//! A run is watched through the traits of [`engine::watch`]; [`Telemetry`] is the one implementation. What
//! a sink may show of prompts, replies and data passes the run's own [`engine::capture`] first. Everything that leaves the
//! process does so on a thread of its own, behind bounds: no sink can slow a run down or make it fail.

mod capture;
mod counted_store;
mod export;
/// What `fuzz/` calls; each function takes any bytes.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod mlflow;
pub mod otlp;
mod queue;
mod request;
mod run;
mod semconv;
mod span;
mod telemetry;

pub use counted_store::CountedStore;
pub use request::RequestSpan;
pub use telemetry::{Answered, Settings, StartError, Telemetry};
