//! `flowmill`: checks, runs and serves agent workflows written in YAML.
//!
//! The only composition root. [`commands`] has a file for each command, [`config`] reads the
//! environment and files, [`assemble`] puts the other crates together, [`printer`] writes all
//! output, and [`failure`] defines how a command fails.

mod assemble;
mod commands;
mod config;
mod failure;
mod health;
mod job_store;
mod logging;
mod open_file_limit;
mod printer;
mod progress;
mod recording;
mod runtime;
mod sample;
mod signals;
mod system_host;
mod table;
mod telemetry_setup;
mod workflow_file;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // rustls is built without a default provider; every TLS client in the process uses this one.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing has installed a provider before");
    let exit = commands::main().unwrap_or_else(|failure| {
        printer::failure(&failure);
        failure.exit
    });
    exit.into()
}
