//! The cost of durable jobs.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Bench, start_model};
use crate::load::{self, Question};
use crate::report::{Budget, Line, Measure, Pair};
use crate::target::Program;

const CONNECTIONS: usize = 256;
const OF_MEMORY: Budget = Budget::AtLeast(0.85);
const ACCEPTED: Budget = Budget::AtLeast(5_000.0);

/// Approximate size of a job in a file, in bytes.
const RECORD: [u8; 512] = [b'x'; 512];

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Line>> {
    let Program::Flowmill(_) = &bench.flowmill else {
        return Ok(Vec::new());
    };
    Ok(vec![runs(bench).await?, accepted(bench).await?])
}

/// `POST /run`: the memory store compared with the file.
async fn runs(bench: &Bench) -> Result<Line> {
    let (_model, model) = start_model(Duration::ZERO)?;
    let folder = bench.fresh_folder()?;
    let memory = bench.flowmill.start(model, bench.folder())?;
    let durable = bench.flowmill.start_with(model, folder.path(), &[])?;
    durable.check().await?;
    let run = Question::run();
    for target in [&memory, &durable] {
        load::repeat(target.address, &run, CONNECTIONS, bench.scale.round).await?;
    }
    let mut rounds = Vec::new();
    for _ in 0..bench.scale.rounds {
        let mut seen = Vec::new();
        for target in [&memory, &durable] {
            let sample = load::repeat(target.address, &run, CONNECTIONS, bench.scale.round).await?;
            seen.push(sample.throughput());
        }
        rounds.push(Pair {
            reference: seen[0],
            flowmill: seen[1],
        });
    }
    let what = format!("{CONNECTIONS} connections: durable runs (reference: in memory)");
    Ok(Line::paired(what, "/s", Measure::Ratio, &rounds).within(OF_MEMORY))
}

/// `POST /jobs`: jobs stored on disk per second, compared with a program that syncs each one
/// separately.
async fn accepted(bench: &Bench) -> Result<Line> {
    // Only the first job runs, for the whole measurement.
    let (_model, model) = start_model(Duration::from_secs(3_600))?;
    let folder = bench.fresh_folder()?;
    let options = ["--max-running", "1", "--max-queued", "100000000"];
    let target = bench.flowmill.start_with(model, folder.path(), &options)?;
    let job = Question::job();
    load::repeat(target.address, &job, CONNECTIONS, bench.scale.round).await?;
    let mut rounds = Vec::new();
    for _ in 0..bench.scale.rounds {
        let one_by_one = synced_one_by_one(folder.path(), bench.scale.round)?;
        let sample = load::repeat(target.address, &job, CONNECTIONS, bench.scale.round).await?;
        rounds.push(Pair {
            reference: one_by_one,
            flowmill: sample.throughput(),
        });
    }
    let what =
        format!("{CONNECTIONS} connections: durable jobs accepted (reference: one fsync each)");
    Ok(Line::paired(what, "/s", Measure::Value, &rounds).within(ACCEPTED))
}

/// Records that a program writes and syncs per second, one after the other, on the same disk.
fn synced_one_by_one(folder: &Path, length: Duration) -> Result<f64> {
    let mut file = File::create(folder.join("one-by-one")).context("a file to be synced")?;
    let start = Instant::now();
    let mut records = 0_u32;
    while start.elapsed() < length {
        file.write_all(&RECORD)?;
        file.sync_data()?;
        records += 1;
    }
    Ok(f64::from(records) / start.elapsed().as_secs_f64())
}
