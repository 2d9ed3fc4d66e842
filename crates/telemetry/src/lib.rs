//! Telemetry: metrics to scrape, spans for OpenTelemetry, runs and traces for MLflow, and the
//! format of log lines.
//!
//! Runs are observed through the traits of [`engine::watch`], which [`Telemetry`] implements.
//! Prompts, replies and data pass the run's own [`engine::capture`] before a sink sees them.
//! Everything leaves the process on a separate thread, through bounded queues: no sink can slow
//! down a run or make it fail.

mod capture;
mod counted_store;
mod export;
/// Entry points for `fuzz/`; each function accepts any bytes.
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
