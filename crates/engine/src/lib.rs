//! Runs one checked workflow: prompts, answers, routes, loops, fan-out, budgets, cancellation.
//!
//! Knows nothing of jobs, stores or HTTP; what it needs from outside comes through [`host::Host`],
//! what it tells goes through [`event::Observer`], what must survive a crash through [`progress`].

pub mod event;
pub mod host;
pub mod outcome;
pub mod progress;
pub mod run;
