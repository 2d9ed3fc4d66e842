//! What leaves the program while it works: runs in a real MLflow, spans, metrics, log lines; and
//! that none of it can hurt a run. What arrived is read back by software that is not ours.

mod collector;
mod faults;
mod metrics;
mod registry;
mod rig;
mod runs;
mod traces;
