//! Measures flowmill against a minimal reference, both in front of the same local model server.
//!
//! One command runs everything (see README.md); the two servers it needs are its own subcommands.

mod attack;
mod generate;
mod load;
mod model_server;
mod options;
mod parts;
mod pgbench;
mod process;
mod reference;
mod report;
mod target;
mod watcher;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::load::Question;
use crate::options::{Command, Options, RunOptions};

/// The same allocator as flowmill's, so that the comparison is about the programs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    match options.command.unwrap_or(Command::Run(options.run)) {
        Command::Run(run) => return one_thread()?.block_on(measure(run)),
        Command::ModelServer(options) => one_thread()?.block_on(model_server::serve(options))?,
        Command::Reference(options) => {
            // As flowmill: a thread for each core.
            let runtime = Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(reference::serve(options))?;
        }
        Command::Ask(ask) => {
            let (question, connections) = (Question::run(), ask.connections.get());
            let runs = load::ask_in_all(ask.address, &question, connections, ask.runs);
            one_thread()?.block_on(runs)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The load and the model leave as much of the machine as they can to the program under
/// measurement.
fn one_thread() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Runs the suite. A signal drops it, and with it the servers it started.
async fn measure(options: RunOptions) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let report = tokio::select! {
        report = parts::measure_all(&options) => report?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    };
    report
        .print(options.format)
        .context("cannot print the report")?;
    if options.enforce && !report.is_within_budgets() {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
