//! The parts of the measurement, a file each.

mod abuse;
mod durable;
mod in_flight;
mod jobs;
mod listing;
mod load;
mod shared;
mod start;
mod telemetry;
mod validate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::options::{Part, RunOptions};
use crate::process::Process;
use crate::report::{Line, Report};
use crate::target::Program;

/// How much is measured.
struct Scale {
    /// Alternations between the two programs.
    rounds: usize,
    /// The load on one program in one round.
    round: Duration,
    /// Starts of each program, runs of `validate`.
    starts: usize,
    /// Runs at the same time, and how long their model takes.
    in_flight: usize,
    slow_model: Duration,
    in_flight_rounds: usize,
    /// Jobs that wait at the same time: a few and many.
    queued: [usize; 2],
    /// Jobs in a listing.
    listed: usize,
    /// Times each page is asked for.
    pages: usize,
    /// Jobs that several servers share, and runs of a server that is killed.
    shared_jobs: usize,
    /// Jobs that one server picks up or cancels for another.
    remote: usize,
    /// Clients that watch, on another server than the one that runs their job: a few and many.
    watchers: [usize; 2],
    /// How long idle servers are looked at, and those with many runs in flight.
    idle: Duration,
    beats: Duration,
}

const FULL: Scale = Scale {
    rounds: 7,
    round: Duration::from_secs(2),
    starts: 11,
    in_flight: 10_000,
    slow_model: Duration::from_secs(5),
    in_flight_rounds: 3,
    queued: [1_000, 100_000],
    listed: 1_000_000,
    pages: 300,
    shared_jobs: 2_000,
    remote: 100,
    watchers: [10, 1_000],
    idle: Duration::from_secs(30),
    beats: Duration::from_secs(60),
};

const QUICK: Scale = Scale {
    rounds: 1,
    round: Duration::from_millis(300),
    starts: 3,
    in_flight: 200,
    slow_model: Duration::from_millis(500),
    in_flight_rounds: 1,
    queued: [100, 1_000],
    listed: 10_000,
    pages: 10,
    shared_jobs: 100,
    remote: 5,
    watchers: [2, 20],
    idle: Duration::from_secs(3),
    beats: Duration::from_secs(3),
};

/// What every part needs.
struct Bench {
    scale: &'static Scale,
    reference: Program,
    flowmill: Program,
    folder: tempfile::TempDir,
    notes: Vec<String>,
}

/// Runs the chosen parts, one after the other.
pub(crate) async fn measure_all(options: &RunOptions) -> Result<Report> {
    let mut bench = Bench {
        scale: if options.quick { &QUICK } else { &FULL },
        reference: Program::Reference,
        flowmill: if options.noise {
            Program::Reference
        } else {
            Program::Flowmill(flowmill_binary(options.flowmill.as_deref())?)
        },
        folder: tempfile::tempdir()?,
        notes: Vec::new(),
    };
    if options.quick {
        bench
            .notes
            .push("--quick is a smoke test; do not quote its figures".to_owned());
    }
    if options.noise {
        bench
            .notes
            .push("--noise: both columns are the reference".to_owned());
    }
    if cfg!(debug_assertions) {
        bench
            .notes
            .push("this program was not built with --release".to_owned());
    }
    let mut lines: Vec<Line> = Vec::new();
    for part in &options.only {
        lines.extend(match part {
            Part::Start => start::measure(&bench).await?,
            Part::Load => load::measure(&bench).await?,
            Part::InFlight => in_flight::measure(&mut bench).await?,
            Part::Validate => validate::measure(&bench)?,
            Part::Telemetry => telemetry::measure(&bench).await?,
            Part::Durable => durable::measure(&bench).await?,
            Part::Jobs => jobs::measure(&mut bench).await?,
            Part::Listing => listing::measure(&bench).await?,
            Part::Abuse => abuse::measure(&mut bench).await?,
            Part::Shared => shared::measure(&mut bench).await?,
        });
    }
    let cores = std::thread::available_parallelism()?.get();
    Ok(Report {
        cores,
        lines,
        notes: bench.notes,
    })
}

impl Bench {
    fn programs(&self) -> [&Program; 2] {
        [&self.reference, &self.flowmill]
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An empty folder, for a store of its own.
    fn fresh_folder(&self) -> Result<tempfile::TempDir> {
        Ok(tempfile::tempdir_in(self.folder())?)
    }
}

fn start_model(delay: Duration) -> Result<(Process, SocketAddr)> {
    Process::start_own(&["model-server", "--delay-ms", &delay.as_millis().to_string()])
}

fn flowmill_binary(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("flowmill"),
    };
    ensure!(
        path.is_file(),
        "there is no {}; build it with `cargo build --release -p flowmill`, or give --flowmill PATH",
        path.display()
    );
    path.canonicalize()
        .with_context(|| format!("cannot resolve {}", path.display()))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Megabytes, as budgets count them: 10^6 bytes.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
