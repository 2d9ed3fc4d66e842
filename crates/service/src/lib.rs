//! flowmill's use cases, without HTTP: which workflows are loaded, submitting, waiting, watching,
//! cancelling, retrying, draining. Joins the engine, the models and the job store.
//!
//! The life of a run: [`Service::submit`] checks the inputs, stores the job and, where a slot is free,
//! claims it in the same commit; a task of its own then executes it, whoever waits for it or goes away.
//! Where no slot is free the job waits in the store until the worker claims it. While it runs the worker
//! renews its lease. Its end is stored together with its last event, and only then told to anybody.

mod backoff;
pub mod catalog;
mod drain;
pub mod events;
mod execution;
mod inputs;
mod live;
pub mod problem;
mod retry;
pub mod runs;
mod service;
mod worker;

pub use drain::Drained;
pub use retry::{RetryError, RetryFrom};
pub use service::{Config, NotReady, Service, Settings};
