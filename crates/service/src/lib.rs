//! flowmill's use cases, without HTTP: which workflows are loaded, submitting, waiting, watching,
//! cancelling, retrying, draining. Joins the engine, the models and the job store.
//!
//! The life of a run: [`Service::submit`] checks the inputs, stores the job and, where a slot is
//! free, claims it in the same commit; a task of its own executes it, whether its client waits or
//! leaves. With [`Service::submit_inline`] the client that waits executes it, until the run ends or
//! the client leaves. Where no slot is free, the job waits in the store, and only there, until the
//! worker claims it. While it runs, the process keeps its lease (`beats`). Its end is stored with
//! its last event, and shown only then. After a crash a job continues from its progress and the
//! events after it. Where the job has a webhook, its delivery is due from the same commit on
//! ([`webhooks`]).
//!
//! Files are layered: data (`events`, `submission`, `settings`), the parts of a service
//! (`registry`, `slots`, `lifecycle` …), `shared`, which holds them, the use cases, each an `impl
//! Service` in a file of its own, and `service`, which puts one together.

pub mod access;
mod admission;
mod backoff;
mod beats;
pub mod catalog;
mod completion;
pub mod document;
mod drain;
mod event_log;
pub mod events;
mod execution;
mod expiry;
mod followers;
/// What `fuzz/` calls; each function takes any bytes.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod in_flight;
pub mod inline_run;
mod inputs;
pub mod level;
mod lifecycle;
pub mod limits;
mod live;
mod numbered;
mod position;
pub mod problem;
mod registry;
mod relied_on_models;
mod remote_watch;
mod replica_lease;
mod retired_versions;
mod retry;
mod run_options;
mod run_record;
mod runs;
mod service;
mod settings;
mod shared;
mod signals_heard;
mod slots;
mod store_health;
pub mod submission;
mod tails;
#[cfg(test)]
mod test_clock;
mod watching;
pub mod webhooks;
mod worker;
mod workflows;

pub use drain::Drained;
pub use expiry::UNREAD_KEPT;
pub use retry::{Retry, RetryDefinition, RetryError, RetryFrom};
pub use service::{Config, NotReady};
pub use settings::Settings;
pub use shared::Service;
