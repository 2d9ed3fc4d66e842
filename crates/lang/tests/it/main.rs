//! The language from outside: whole files in, diagnostics and workflows out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod docs;
mod fan_out_bound;
mod fixtures;
mod llm;
mod robust;
mod slips;
mod tools;
mod values;
mod workflow;
mod yaml_output;
