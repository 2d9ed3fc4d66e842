//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures flowmill against a minimal reference in the same run.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the measurements (the default)
    Run(RunOptions),
    /// Run a fast model server with one fixed answer; prints its address
    ModelServer(ModelServerOptions),
    /// Run the reference program, which does the same work in the simplest way; prints its address
    Reference(ReferenceOptions),
    /// Send a number of runs to a running server, to count instructions or to profile
    Ask(AskOptions),
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Only run a smoke test of a few seconds, which is too short for meaningful figures
    #[arg(long)]
    pub(crate) quick: bool,
    /// Exit with 1 if a figure is over its budget
    #[arg(long)]
    pub(crate) enforce: bool,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// The flowmill binary [default: the one next to this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) flowmill: Option<PathBuf>,
    /// Measure only these parts
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    pub(crate) only: Vec<Part>,
    /// Measure the reference against itself, which shows how reliable the figures are on this
    /// machine
    #[arg(long)]
    pub(crate) noise: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Time to the first healthy answer, idle memory
    Start,
    /// Throughput, latency and memory at 1, 32 and 256 connections
    Load,
    /// 10,000 runs at the same time on a slow model
    InFlight,
    /// `validate` of a large file
    Validate,
    /// Throughput with runs tracked in MLflow
    Telemetry,
    /// The cost of durable jobs: `POST /run` compared with the memory store, `POST /jobs`
    Durable,
    /// 10,000 jobs submitted at once, 100,000 that wait, a restart
    Jobs,
    /// Pages of a listing of 1,000,000 jobs
    Listing,
    /// The effect of malicious clients on others
    Abuse,
    /// Several servers on one PostgreSQL, where that is installed
    Shared,
}

#[derive(Debug, Args)]
pub(crate) struct ModelServerOptions {
    /// Wait this long before each answer
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    pub(crate) delay_ms: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct ReferenceOptions {
    /// Base address of the model's API
    #[arg(long, value_name = "URL")]
    pub(crate) model_url: String,
}

#[derive(Debug, Args)]
pub(crate) struct AskOptions {
    /// Where the server listens
    pub(crate) address: SocketAddr,
    /// Number of runs
    pub(crate) runs: usize,
    /// Number of concurrent connections
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) connections: NonZeroUsize,
}

fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}
