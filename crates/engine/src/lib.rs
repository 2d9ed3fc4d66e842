//! Runs one checked workflow: prompts, answers, routes, loops, fan-out, budgets, cancellation.
//!
//! Knows nothing of jobs, stores or HTTP. The clock and randomness come from [`host::Host`], events
//! go to [`observer::Observer`], and [`progress`] holds what must survive a crash. A workflow is
//! prepared once ([`plan::Plan`]) and then run any number of times ([`run::run`]).

pub mod backoff;
mod budget;
pub mod capture;
mod context;
mod emitter;
mod environment;
pub mod event;
mod faults;
mod gates;
pub mod host;
pub mod observer;
pub mod offload;
mod order;
pub mod outcome;
pub mod plan;
pub mod progress;
pub mod quota;
pub mod replay;
pub mod run;
mod schedule;
mod scope;
mod steps;
pub mod trace;
pub mod transfer;
pub mod watch;

/// What an observer is shown of a model call: the request, and the reply or why there is none.
pub use llm::{Error as ModelError, chat};
