//! `flowmill`: checks, runs and serves agent workflows written in YAML.
//!
//! The only composition root. [`commands`] has a file for each command; [`config`] reads the environment
//! and files; [`assemble`] joins the other crates; [`printer`] and [`report`] talk to people.

mod assemble;
mod commands;
mod config;
mod descriptors;
mod health;
mod host;
mod job_store;
mod logging;
mod printer;
mod progress;
mod recording;
mod report;
mod runtime;
mod sample;
mod signals;
mod table;
mod watching;
mod workflow_file;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // rustls knows no provider of its own here; every TLS client in the process takes this one.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing has installed a provider before");
    let exit = commands::main().unwrap_or_else(|failure| {
        printer::failure(&failure);
        failure.exit
    });
    exit.into()
}
