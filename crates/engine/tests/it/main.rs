//! The engine driven from outside: workflows as text, scripted models, a clock that tests move.
#![expect(clippy::unwrap_used, reason = "a test that panics fails, as it should")]

mod cases;
mod fan_out;
mod fixture;
mod limits;
mod paid;
mod privacy;
mod quota;
mod resume;
mod retries;
mod schedule;
