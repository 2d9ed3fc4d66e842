//! The service against fake models and a host whose clock is tokio's paused one.

#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod access;
mod admitting;
mod cancelling;
mod checkpoints;
mod draining;
mod elsewhere;
mod events;
mod expiring;
mod fixture;
mod holding;
mod idempotency;
mod leaving;
mod limits;
mod queueing;
mod recovery;
mod replica_limits;
mod retrying;
mod simulation;
mod submitting;
mod telling;
